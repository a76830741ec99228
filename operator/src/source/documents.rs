//! The documents of a YAML file, each parsed by itself, so that a bad one does not spoil the others.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use serde_saphyr::{Options, Spanned};

/// What one document of a file, or one item of a list in it, holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    /// Line of the file that it starts at, from 1.
    pub line: usize,
    /// Its content; or why it cannot be read, with the line of the file.
    pub content: Result<Value, Malformed>,
}

/// Why text is no YAML.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    /// Line of the file, from 1.
    pub line: usize,
    /// The parser's words.
    pub message: String,
}

/// Everything in a file that is not blank: documents, and the items of those that are a `List`.
pub(crate) fn documents(text: &str) -> Vec<Document> {
    split(text.trim_start_matches('\u{feff}'))
        .into_iter()
        .flat_map(|(line, text)| match parse::<Value>(&text) {
            Ok(Value::Null) => Vec::new(),
            Ok(mut content) => match items(&mut content) {
                Some(items) => {
                    let lines = lines_of_items(&text);
                    let line_of_item = |index| line + lines.get(index).map_or(0, |offset: &usize| offset - 1);
                    let items = items.into_iter().enumerate();
                    items
                        .map(|(index, item)| Document {
                            line: line_of_item(index),
                            content: Ok(item),
                        })
                        .collect()
                }
                None => vec![Document {
                    line,
                    content: Ok(content),
                }],
            },
            Err(Malformed {
                line: offset,
                message,
            }) => {
                vec![Document {
                    line,
                    content: Err(Malformed {
                        line: line + offset - 1,
                        message,
                    }),
                }]
            }
        })
        .collect()
}

/// The texts between `---` lines with the lines they start at; those without content are left out.
///
/// Such a line ends a document wherever it stands, see <https://yaml.org/spec/1.2.2/#rule-c-forbidden>.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = Vec::new();
    let mut document = (1, String::new());
    let mut blank = true;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let after_marker = line
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let line = match after_marker {
            Some(rest) => {
                documents.push(std::mem::replace(&mut document, (number, String::new())));
                blank = true;
                rest
            }
            None => line,
        };
        let trimmed = line.trim();
        if blank && (trimmed.is_empty() || trimmed.starts_with(['#', '%']) || trimmed == "...") {
            continue;
        }
        if blank {
            document.0 = number;
            blank = false;
        }
        document.1.push_str(line);
    }
    documents.push(document);
    documents.retain(|(_, text)| !text.is_empty());
    documents
}

/// YAML as Kubernetes' tools read it: octal numbers with a leading zero, no key twice.
///
/// The default limits on depth and aliases stay, so that no file makes us run out of stack or memory; those on size
/// are wide enough for a dump of a large cluster.
fn parse<'text, T: Deserialize<'text>>(text: &'text str) -> Result<T, Malformed> {
    let options: Options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_nodes: 50_000_000, max_events: 100_000_000 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error
            .location()
            .and_then(|location| usize::try_from(location.line()).ok());
        let message = error.without_snippet().to_string();
        let place = message.rfind(" at line ").unwrap_or(message.len());
        Malformed {
            line: line.unwrap_or(1).max(1),
            message: message[..place].to_owned(),
        }
    })
}

/// The items of a `v1` `List`, or of a kind's own list such as `HTTPRouteList`.
fn items(content: &mut Value) -> Option<Vec<Value>> {
    let is_list = content
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match content.get_mut("items").filter(|_| is_list)?.take() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// The line that each item starts at, from 1.
fn lines_of_items(text: &str) -> Vec<usize> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Spanned<IgnoredAny>>,
    }
    let lines = |list: List| {
        let items = list.items.iter();
        items
            .map(|item| usize::try_from(item.referenced.line()).unwrap_or(1).max(1))
            .collect()
    };
    parse(text).map(lines).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines_and_contents(text: &str) -> Vec<(usize, Value)> {
        let good = |document: Document| Some((document.line, document.content.ok()?));
        documents(text).into_iter().filter_map(good).collect()
    }

    #[test]
    fn documents_know_the_line_they_start_at() {
        let text = "# first\n\na: 1\n---\n\nb: 2\n--- # third\n---\n%TAG ! !\n--- {c: 3}\n...\n";
        assert_eq!(
            lines_and_contents(text),
            [(3, json!({"a": 1})), (6, json!({"b": 2})), (10, json!({"c": 3}))]
        );
    }

    #[test]
    fn a_bad_document_does_not_spoil_the_others() {
        let documents = documents("a: 1\n---\nb: 2\nc: [\n---\nd: 4\n");
        assert_eq!(
            documents[0],
            Document {
                line: 1,
                content: Ok(json!({"a": 1}))
            }
        );
        assert_eq!(documents[1].content.as_ref().unwrap_err().line, 4);
        assert_eq!(
            documents[2],
            Document {
                line: 6,
                content: Ok(json!({"d": 4}))
            }
        );
    }

    #[test]
    fn items_of_a_list_are_documents() {
        let text = "---\napiVersion: v1\nkind: List\nitems:\n- a: 1\n  b: 2\n- c: 3\n";
        assert_eq!(
            lines_and_contents(text),
            [(5, json!({"a": 1, "b": 2})), (7, json!({"c": 3}))]
        );
    }

    #[test]
    fn json_is_read_as_well() {
        let text = "{\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{\"a\": \"\\u00e9\\/\"}\n\t]\n}\n";
        assert_eq!(lines_and_contents(text), [(4, json!({"a": "é/"}))]);
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error() {
        let documents = documents("a: 1\n\na: 2\n");
        let malformed = documents[0].content.as_ref().unwrap_err();
        assert_eq!(malformed.line, 3);
        assert!(
            malformed.message.starts_with("duplicate mapping key"),
            "{}",
            malformed.message
        );
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let documents = documents(&"[".repeat(100_000));
        assert!(documents[0].content.is_err());
    }

    #[test]
    fn windows_line_ends_and_byte_order_marks_are_no_trouble() {
        assert_eq!(
            lines_and_contents("\u{feff}a: 1\r\n---\r\nb: 2\r\n"),
            [(1, json!({"a": 1})), (3, json!({"b": 2}))]
        );
    }
}
