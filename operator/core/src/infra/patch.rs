//! Patches of users, merged into what Flotilla would run.
//!
//! They are strategic merge patches as `kubectl patch` knows them, but for `$patch: replace` and the directives that
//! set orders: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Says of an item of a list that it is to go.
const DIRECTIVE: &str = "$patch";

/// Merges a patch into a value: objects field by field, lists that have a key item by item, all else as a whole.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("it was made one");
    for (name, patch) in patch {
        match (patch, merge_key(name)) {
            (Value::Null, _) => drop(fields.remove(name)),
            (Value::Array(patches), Some(key)) => {
                merge_items(
                    fields.entry(name).or_insert_with(|| Value::Array(Vec::new())),
                    patches,
                    key,
                );
            }
            _ => merge(fields.entry(name).or_insert(Value::Null), patch),
        }
    }
}

fn merge_items(target: &mut Value, patches: &[Value], key: &str) {
    let Value::Array(items) = target else { return };
    for patch in patches {
        let position = items.iter().position(|item| item[key] == patch[key]);
        match position {
            Some(position) if is_deletion(patch) => drop(items.remove(position)),
            Some(position) => merge(&mut items[position], patch),
            None if is_deletion(patch) => {}
            None => {
                let mut item = Value::Null;
                merge(&mut item, patch);
                items.push(item);
            }
        }
    }
}

/// The field that tells the items of a list in a pod's template apart; `None` for lists that are replaced as a whole.
///
/// See `x-kubernetes-patch-merge-key` in <https://github.com/kubernetes/kubernetes/blob/master/api/openapi-spec/swagger.json>.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

fn is_deletion(patch: &Value) -> bool {
    patch[DIRECTIVE] == "delete"
}

/// What is wrong with a patch of a pod's template, each with the path below the patch.
#[must_use]
pub fn pod_patch_problems(patch: &Value) -> Vec<String> {
    problems::<PodTemplateSpec>(patch, "pod template")
}

/// What is wrong with a patch of a container, each with the path below the patch.
#[must_use]
pub fn container_patch_problems(patch: &Value) -> Vec<String> {
    problems::<Container>(patch, "container")
}

fn problems<T: DeserializeOwned>(patch: &Value, what: &str) -> Vec<String> {
    if !patch.is_object() {
        return vec![format!(" is {patch}; it can be a part of a {what}")];
    }
    let mut patch = patch.clone();
    take_deletions(&mut patch);
    let mut problems = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| {
        problems.push(format!("{} is no field of a {what}", text(&path)));
    };
    let decoder = serde_ignored::Deserializer::new(&patch, &mut note);
    if let Err(error) = serde_path_to_error::deserialize::<_, T>(decoder) {
        problems.push(format!(".{}: {}", error.path(), error.inner()));
    }
    problems
}

/// A path as users write it, such as `.spec.containers[0].image`.
fn text(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path::{Map, NewtypeStruct, NewtypeVariant, Root, Seq, Some};
    match path {
        Root => String::new(),
        Seq { parent, index } => format!("{}[{index}]", text(parent)),
        Map { parent, key } => format!("{}.{key}", text(parent)),
        Some { parent } | NewtypeStruct { parent } | NewtypeVariant { parent } => text(parent),
    }
}

/// Takes out what is right where it stands and is no field: the directives to delete items of lists with a key.
fn take_deletions(patch: &mut Value) {
    match patch {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (Value::Array(items), Some(_)) = (&mut *value, merge_key(name)) {
                    let deletions = items.iter_mut().filter(|item| is_deletion(item));
                    for item in deletions.filter_map(Value::as_object_mut) {
                        item.remove(DIRECTIVE);
                    }
                }
                take_deletions(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(take_deletions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn assert_merged(mut target: Value, patch: &Value, wanted: &Value) {
        merge(&mut target, patch);
        assert_eq!(target, *wanted);
    }

    #[test]
    fn fields_are_added_replaced_and_taken_away() {
        assert_merged(
            json!({"hostNetwork": false, "dnsPolicy": "Default", "securityContext": {"runAsUser": 101}}),
            &json!({"hostNetwork": true, "dnsPolicy": null, "securityContext": {"fsGroup": 1}}),
            &json!({"hostNetwork": true, "securityContext": {"runAsUser": 101, "fsGroup": 1}}),
        );
    }

    #[test]
    fn items_of_lists_are_found_by_their_key() {
        assert_merged(
            json!({"containers": [{"name": "gateway", "image": "a", "env": [{"name": "A", "value": "1"}]}]}),
            &json!({"containers": [{"name": "gateway", "env": [{"name": "B", "value": "2"}]}, {"name": "b", "tty": null}]}),
            &json!({"containers": [
                {"name": "gateway", "image": "a", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "b"},
            ]}),
        );
    }

    #[test]
    fn items_of_lists_can_be_taken_away() {
        assert_merged(
            json!({"volumes": [{"name": "a"}, {"name": "b"}]}),
            &json!({"volumes": [{"name": "a", "$patch": "delete"}, {"name": "c", "$patch": "delete"}]}),
            &json!({"volumes": [{"name": "b"}]}),
        );
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        assert_merged(
            json!({"command": ["a", "b"]}),
            &json!({"command": ["c"]}),
            &json!({"command": ["c"]}),
        );
    }

    #[test]
    fn what_is_wrong_with_a_patch_is_named_with_its_path() {
        let deletion = json!({"spec": {"volumes": [{"name": "a", "$patch": "delete"}], "dnsPolicy": null}});
        assert_eq!(pod_patch_problems(&deletion), [""; 0]);
        assert_eq!(
            pod_patch_problems(
                &json!({"spec": {"containers": [{"name": "gateway", "imagePolicy": "Always"}]}})
            ),
            [".spec.containers[0].imagePolicy is no field of a pod template"]
        );
        assert_eq!(
            container_patch_problems(&json!({"$patch": "replace", "tty": "yes"})),
            [
                ".$patch is no field of a container",
                ".tty: invalid type: string \"yes\", expected a boolean"
            ]
        );
        assert_eq!(
            container_patch_problems(&json!([])),
            [" is []; it can be a part of a container"]
        );
    }
}
