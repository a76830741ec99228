//! Secrets and `ConfigMaps` that objects refer to.

use std::collections::BTreeMap;

use crate::{
    api::{ObjectReference, Secret, SecretObjectReference},
    object::ObjectKey,
    outcome::Needs,
    resolve::grant::{Grants, Referent, Referrer},
    snapshot::Snapshot,
};

/// Looks for Secrets and `ConfigMaps`, and notes which ones it looked for.
#[derive(Debug)]
pub struct Lookup<'a> {
    /// Where it looks.
    pub snapshot: &'a Snapshot,
    /// What may be looked for in other namespaces.
    pub grants: &'a Grants<'a>,
    /// What it looked for, whether or not it exists.
    pub needs: &'a mut Needs,
}

/// Why a reference leads nowhere, in words for the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dangling {
    /// It leads to another namespace, which does not permit it.
    NotPermitted(String),
    /// It leads to a kind that holds nothing of the sort.
    WrongKind(String),
    /// What it leads to does not exist, or does not hold what is needed.
    Invalid(String),
}

/// The text of a `ConfigMap`'s or Secret's key, and what to call it in a message.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Such as `ca.crt of ConfigMap default/authorities`.
    pub name: String,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Lookup<'a> {
    /// The Secret that an object refers to.
    pub fn secret(
        &mut self,
        from: Referrer<'_>,
        reference: &SecretObjectReference,
    ) -> Result<(ObjectKey, &'a Secret), Dangling> {
        let (group, kind) = (reference.group(), reference.kind());
        if (group, kind) != ("", "Secret") {
            return Err(wrong_kind(group, kind, "a Secret"));
        }
        let namespace = reference.namespace.as_deref();
        let key = self.permitted(from, "Secret", namespace, &reference.name)?;
        let snapshot = self.snapshot;
        self.needs.secrets.insert(key.clone());
        let secret = snapshot.secrets.get(&key);
        let secret = secret.ok_or_else(|| missing("Secret", &key))?;
        Ok((key, secret))
    }

    /// The `ca.crt` of the `ConfigMap` or Secret that an object refers to.
    pub fn authorities(
        &mut self,
        from: Referrer<'_>,
        reference: &ObjectReference,
    ) -> Result<Entry<'a>, Dangling> {
        let ObjectReference {
            group,
            kind,
            name,
            namespace,
        } = reference;
        let snapshot = self.snapshot;
        let (key, value) = match (group.as_str(), kind.as_str()) {
            ("", "ConfigMap") => {
                let key = self.permitted(from, kind, namespace.as_deref(), name)?;
                self.needs.config_maps.insert(key.clone());
                let object = snapshot.config_maps.get(&key);
                let object = object.ok_or_else(|| missing(kind, &key))?;
                let text = object.data.as_ref().and_then(|data| data.get(AUTHORITIES));
                (key, text.map(String::as_bytes))
            }
            ("", "Secret") => {
                let key = self.permitted(from, kind, namespace.as_deref(), name)?;
                self.needs.secrets.insert(key.clone());
                let object = snapshot.secrets.get(&key);
                let object = object.ok_or_else(|| missing(kind, &key))?;
                (key, secret_value(object, AUTHORITIES))
            }
            (group, kind) => return Err(wrong_kind(group, kind, "a ConfigMap or a Secret")),
        };
        match value {
            Some(value) => Ok(Entry {
                name: format!("{AUTHORITIES} of {kind} {key}"),
                value,
            }),
            None => Err(Dangling::Invalid(format!(
                "{kind} {key} has no key {AUTHORITIES}"
            ))),
        }
    }

    /// The key of the object, if the reference may lead there.
    fn permitted(
        &self,
        from: Referrer<'_>,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<ObjectKey, Dangling> {
        let namespace = namespace.unwrap_or(from.namespace);
        let to = Referent {
            group: "",
            kind,
            namespace,
            name,
        };
        let key = ObjectKey::new(namespace, name);
        if self.grants.permits(from, to) {
            Ok(key)
        } else {
            Err(Dangling::NotPermitted(format!(
                "no ReferenceGrant in namespace {namespace} lets a {} of namespace {} refer to {kind} {key}",
                from.kind, from.namespace
            )))
        }
    }
}

/// The key that holds the certificates of authorities.
const AUTHORITIES: &str = "ca.crt";

/// The value of a Secret's key, which manifests may also write as plain text.
#[must_use]
pub(super) fn secret_value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(key));
    let bytes = secret
        .data
        .as_ref()
        .and_then(|data: &BTreeMap<_, _>| data.get(key));
    text.map(String::as_bytes)
        .or_else(|| bytes.map(|bytes| bytes.0.as_slice()))
}

fn missing(kind: &str, key: &ObjectKey) -> Dangling {
    Dangling::Invalid(format!("{kind} {key} does not exist"))
}

fn wrong_kind(group: &str, kind: &str, wanted: &str) -> Dangling {
    Dangling::WrongKind(format!(
        "it names a {kind} of group {group:?}; it can name {wanted} of group \"\""
    ))
}
