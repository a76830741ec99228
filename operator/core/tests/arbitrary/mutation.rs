//! Documents as nobody would write them: eight bytes say what is changed, and where.

use serde_json::{Value, json};

use crate::objects;

/// One change of one document.
///
/// Every value of every field means something: each is taken modulo the number of what there is to choose from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutation {
    document: u8,
    node: u16,
    kind: u8,
    value: u8,
    donor: u8,
    donor_node: u16,
}

/// Texts that mean something to NGINX, to YAML, to a file system or to the Gateway API.
const TEXTS: [&str; 53] = [
    "",
    " ",
    "\0",
    "\n",
    "a\r\nX-Injected: 1",
    "\u{1}\u{7f}",
    "\u{85}\u{2028}\u{feff}",
    "\"",
    "'",
    "\\",
    "\\\"; return 200;",
    ";",
    "{",
    "};",
    "} server { listen 1; }",
    "$",
    "$uri",
    // No variable of NGINX or ours: where it is taken for one, NGINX refuses the configuration.
    "$injected",
    "${http_host}",
    "$1\\1",
    "#",
    "*",
    "~",
    "~*^(",
    "(a+)+$",
    "(?:a|b)*c{2,5}",
    "(?<name>x)\\k<name>",
    "[[:alpha:]]",
    "%",
    "%00",
    "%2e%2e/",
    "/",
    "//",
    "/../../etc/passwd",
    "..",
    "/.flotilla",
    "@name",
    "*.example.com",
    "*.*.example.com",
    "EXAMPLE.com.",
    "shop.example.com",
    "xn--bcher-kva.example",
    "bücher.example",
    "日本語🦀",
    "127.0.0.1",
    "[::1]:80",
    "::",
    "1.2.3.4/40",
    "host",
    "Transfer-Encoding",
    "\u{202e}evil",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "99999999999999999999s",
];

/// Values of enumerations, kinds, groups, names and namespaces that other objects have, and some that none has.
const WORDS: [&str; 42] = [
    "default",
    "other",
    "healthy",
    "edge",
    "shop",
    "flotilla",
    "http",
    "https",
    "gateway.networking.k8s.io",
    "inference.networking.k8s.io",
    "flotilla.dev",
    "core",
    "Gateway",
    "ListenerSet",
    "Service",
    "Secret",
    "ConfigMap",
    "HTTPRoute",
    "GRPCRoute",
    "InferencePool",
    "NginxFleet",
    "Tomorrow",
    "HTTP",
    "HTTPS",
    "TLS",
    "TCP",
    "UDP",
    "Terminate",
    "Passthrough",
    "All",
    "Same",
    "Selector",
    "None",
    "Exact",
    "PathPrefix",
    "RegularExpression",
    "ReplaceFullPath",
    "ReplacePrefixMatch",
    "RequestRedirect",
    "URLRewrite",
    "CORS",
    "kubernetes.io/h2c",
];

impl From<[u8; 8]> for Mutation {
    fn from(
        [
            document,
            node_high,
            node_low,
            kind,
            value,
            donor,
            donor_high,
            donor_low,
        ]: [u8; 8],
    ) -> Self {
        Self {
            document,
            node: u16::from_be_bytes([node_high, node_low]),
            kind,
            value,
            donor,
            donor_node: u16::from_be_bytes([donor_high, donor_low]),
        }
    }
}

impl Mutation {
    /// Changes a document, or adds or removes one; nothing where no object could be read from the result.
    pub(crate) fn apply(self, documents: &mut Vec<Value>) {
        let Some(document) = chosen(documents, self.document.into()) else {
            return;
        };
        match self.kind % 32 {
            0 => {
                documents.remove(usize::from(self.document) % documents.len());
            }
            1 => documents.push(self.renamed(document.clone())),
            _ => {
                let changed = self.changed(document.clone(), documents);
                if objects::insert(&mut operator_core::snapshot::Snapshot::default(), changed.clone()).is_ok()
                {
                    let position = usize::from(self.document) % documents.len();
                    documents[position] = changed;
                }
            }
        }
    }

    /// A second object that differs from the first by its name alone.
    fn renamed(self, mut document: Value) -> Value {
        document["metadata"]["name"] = format!("copy-{}", self.value % 4).into();
        document
    }

    fn changed(self, mut document: Value, documents: &[Value]) -> Value {
        let paths = paths(&document);
        let path = &paths[usize::from(self.node) % paths.len()];
        let donated = self.donated(documents);
        let Some(node) = document.pointer_mut(path) else {
            return document;
        };
        match (self.kind % 32, &mut *node) {
            (2..=7, Value::String(text)) => self.edit(text),
            (8, Value::Array(items)) => items.extend_from_within(..),
            (9, Value::Array(items)) => {
                if let Some(item) = items.first().cloned() {
                    items.resize(items.len() + usize::from(self.value), item);
                }
            }
            (10, Value::Array(items)) => items.reverse(),
            (8..=11, Value::Array(items)) => items.push(donated),
            (8..=10, Value::Object(fields)) => {
                let name = fields
                    .keys()
                    .nth(usize::from(self.value) % fields.len().max(1))
                    .cloned();
                if let Some(name) = name {
                    fields.remove(&name);
                }
            }
            (11, Value::Object(fields)) => {
                // Fields that belong here, from an object that has them.
                if let Value::Object(donated) = donated {
                    fields.extend(donated);
                }
            }
            (12..=20, _) => *node = self.scalar(),
            (21..=22, _) => {
                *node = [json!(null), json!({}), json!([]), json!(true)][usize::from(self.value % 4)].clone();
            }
            _ => *node = donated,
        }
        document
    }

    /// Puts a text into another, or takes its end away.
    fn edit(self, text: &mut String) {
        let middle = text.floor_char_boundary(usize::from(self.donor_node) % (text.len() + 1));
        match self.donor % 4 {
            0 => text.truncate(middle),
            1 => *text = text.to_uppercase(),
            _ => text.insert_str(middle, TEXTS[usize::from(self.value) % TEXTS.len()]),
        }
    }

    /// A text, a word, a number or something long.
    fn scalar(self) -> Value {
        const NUMBERS: [i64; 12] = [
            -1,
            0,
            1,
            2,
            80,
            443,
            65_535,
            65_536,
            301,
            1_000_000,
            i64::MAX,
            i64::MIN,
        ];
        let value = usize::from(self.value);
        match self.donor % 8 {
            0..=2 => TEXTS[value % TEXTS.len()].into(),
            3..=4 => WORDS[value % WORDS.len()].into(),
            5 => NUMBERS[value % NUMBERS.len()].into(),
            6 => [json!(i32::MAX), json!(i32::MIN), json!(0.5), json!(1e300)][value % 4].clone(),
            _ => TEXTS[value % TEXTS.len()]
                .repeat(10_000)
                .chars()
                .take(10_000)
                .collect::<String>()
                .into(),
        }
    }

    /// A part of any document.
    fn donated(self, documents: &[Value]) -> Value {
        let donor = chosen(documents, self.donor.into()).cloned().unwrap_or_default();
        let paths = paths(&donor);
        let path = &paths[usize::from(self.donor_node) % paths.len()];
        donor.pointer(path).cloned().unwrap_or_default()
    }
}

fn chosen(documents: &[Value], choice: usize) -> Option<&Value> {
    documents.get(choice % documents.len().max(1))
}

/// JSON pointers to every part of a document, the whole included.
fn paths(document: &Value) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut next = 0;
    while next < paths.len() {
        let path = paths[next].clone();
        match document.pointer(&path) {
            Some(Value::Object(fields)) => {
                let names = fields
                    .keys()
                    .map(|name| name.replace('~', "~0").replace('/', "~1"));
                paths.extend(names.map(|name| format!("{path}/{name}")));
            }
            Some(Value::Array(items)) => {
                paths.extend((0..items.len()).map(|index| format!("{path}/{index}")));
            }
            _ => {}
        }
        next += 1;
    }
    paths
}
