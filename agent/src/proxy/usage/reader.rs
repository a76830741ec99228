//! What an answer says of its model and tokens, read while it passes.

use memchr::memchr3;

/// Bytes of the longest name of a model that is read.
const LONGEST_NAME: usize = 128;
/// Objects within each other, down to the numbers of a `usage`.
const DEPTH: usize = 3;

/// Tokens that an answer took, as far as it has said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
}

/// Reads JSON in chunks of any length, and keeps nothing of it but what it looks for.
///
/// ```text
/// {"model": …, "usage": {"prompt_tokens": …, "completion_tokens": …}}                         OpenAI
/// {"response": {"model": …, "usage": {"input_tokens": …, "output_tokens": …}}}                its events of responses
/// {"message": {"model": …, "usage": {"input_tokens": …, "output_tokens": …}}}                 Anthropic, its first event
/// ```
///
/// The latest numbers and the first name hold. A parser would have to be given texts as long as the model makes them; what
/// is no JSON does no harm here, but yields nothing of use.
#[derive(Debug)]
pub struct Reader {
    /// Whether each line is a text of its own.
    is_event_stream: bool,
    /// Objects and arrays that have begun and not ended.
    depth: usize,
    /// Of the outermost ones: what their member that is being read is called.
    keys: [Key; DEPTH],
    /// Of the outermost ones: whether their members have no keys.
    are_arrays: [bool; DEPTH],
    /// Whether the next string is a key.
    is_key_next: bool,
    string: Option<Text>,
    number: Number,
    /// The bytes of a string, if they matter.
    text: Vec<u8>,
    has_begun: bool,
    usage: Usage,
    model: Option<String>,
}

/// A string that has begun.
#[derive(Clone, Copy, Debug)]
struct Text {
    /// Whether its bytes matter.
    is_wanted: bool,
    is_escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Number {
    /// No value has begun.
    #[default]
    None,
    Digits(u64),
    /// A value that is no whole number.
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    Envelope,
    Model,
    Usage,
    Input,
    Output,
    #[default]
    Other,
}

impl Key {
    fn of(text: &[u8]) -> Self {
        match text {
            b"response" | b"message" => Self::Envelope,
            b"model" => Self::Model,
            b"usage" => Self::Usage,
            b"prompt_tokens" | b"input_tokens" => Self::Input,
            b"completion_tokens" | b"output_tokens" => Self::Output,
            _ => Self::Other,
        }
    }
}

impl Reader {
    /// Of a text, or of a stream of events, of which each has one in a line.
    #[must_use]
    pub fn new(is_event_stream: bool) -> Self {
        Self {
            is_event_stream,
            depth: 0,
            keys: [Key::Other; DEPTH],
            are_arrays: [false; DEPTH],
            is_key_next: false,
            string: None,
            number: Number::None,
            text: Vec::new(),
            has_begun: false,
            usage: Usage::default(),
            model: None,
        }
    }

    /// Takes the next bytes.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = if let Some(text) = self.string {
                self.read_string(text, bytes)
            } else {
                self.read_token(byte);
                rest
            };
        }
    }

    /// Whether an object has come yet: events may be preceded by comments that keep the connection alive.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What was found of tokens.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// What was found of the model.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn read_token(&mut self, byte: u8) {
        match byte {
            b'\n' if self.is_event_stream => self.depth = 0,
            b'{' => self.open(false),
            _ if self.depth == 0 => {}
            b'[' => self.open(true),
            b'}' | b']' => {
                self.end_value();
                self.depth -= 1;
            }
            b'"' => {
                self.text.clear();
                self.string = Some(Text {
                    is_wanted: self.is_string_wanted(),
                    is_escaped: false,
                });
            }
            b':' => self.is_key_next = false,
            b',' => {
                self.end_value();
                self.is_key_next = self.depth <= DEPTH && !self.are_arrays[self.depth - 1];
            }
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                self.number = match self.number {
                    Number::None => Number::Digits(digit),
                    Number::Digits(number) => Number::Digits(number.saturating_mul(10).saturating_add(digit)),
                    Number::Other => Number::Other,
                };
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.number = Number::Other,
        }
    }

    /// Reads on within a string; what comes after it, or after its part that was read.
    fn read_string<'a>(&mut self, mut text: Text, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = usize::from(text.is_escaped);
        let end = memchr3(b'"', b'\\', b'\n', &bytes[skipped..]).map_or(bytes.len(), |end| skipped + end);
        let (inner, rest) = bytes.split_at(end);
        if text.is_wanted {
            let room = (LONGEST_NAME + 1).saturating_sub(self.text.len());
            self.text.extend_from_slice(&inner[..inner.len().min(room)]);
        }
        text.is_escaped = false;
        self.string = Some(text);
        let Some((&byte, rest)) = rest.split_first() else {
            return rest;
        };
        match byte {
            b'"' => {
                self.string = None;
                if text.is_wanted {
                    self.end_string();
                }
            }
            b'\\' => {
                // No key that matters has an escape in it, and no model known to be served.
                self.string = Some(Text {
                    is_wanted: false,
                    is_escaped: true,
                });
                if self.is_key_next {
                    self.set_key(Key::Other);
                }
            }
            _ if self.is_event_stream => {
                self.string = None;
                self.depth = 0;
            }
            _ => {}
        }
        rest
    }

    fn open(&mut self, is_array: bool) {
        self.has_begun = true;
        self.number = Number::None;
        self.is_key_next = !is_array;
        self.depth += 1;
        self.set_key(Key::Other);
        if let Some(known) = self.are_arrays.get_mut(self.depth - 1) {
            *known = is_array;
        }
    }

    fn end_value(&mut self) {
        let Number::Digits(number) = std::mem::take(&mut self.number) else {
            return;
        };
        match self.path() {
            Some([Key::Usage, Key::Input] | [Key::Envelope, Key::Usage, Key::Input]) => {
                self.usage.input = Some(number);
            }
            Some([Key::Usage, Key::Output] | [Key::Envelope, Key::Usage, Key::Output]) => {
                self.usage.output = Some(number);
            }
            _ => {}
        }
    }

    fn end_string(&mut self) {
        if self.is_key_next {
            self.set_key(Key::of(&self.text));
        } else if self.text.len() <= LONGEST_NAME {
            self.model = str::from_utf8(&self.text).ok().map(ToOwned::to_owned);
        }
    }

    fn is_string_wanted(&self) -> bool {
        if self.is_key_next {
            return self.depth <= DEPTH;
        }
        self.model.is_none() && matches!(self.path(), Some([Key::Model] | [Key::Envelope, Key::Model]))
    }

    fn set_key(&mut self, key: Key) {
        if let Some(known) = self.keys.get_mut(self.depth - 1) {
            *known = key;
        }
    }

    /// The keys that lead to what is being read; none where it is too deep to matter.
    fn path(&self) -> Option<&[Key]> {
        self.keys.get(..self.depth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is read of a text that comes in chunks of some bytes.
    fn read(text: &str, is_event_stream: bool, chunk: usize) -> (Usage, Option<String>) {
        let mut reader = Reader::new(is_event_stream);
        for bytes in text.as_bytes().chunks(chunk) {
            reader.read(bytes);
        }
        (reader.usage(), reader.model().map(ToOwned::to_owned))
    }

    fn check(text: &str, is_event_stream: bool, input: Option<u64>, output: Option<u64>) {
        for chunk in 1..=text.len() {
            let expected = (Usage { input, output }, Some("tide-1b".to_owned()));
            assert_eq!(read(text, is_event_stream, chunk), expected, "{text} in {chunk}s");
        }
    }

    #[test]
    fn whole_answers_say_what_they_took() {
        let completion = json!({
            "choices": [{ "message": { "content": "a \"usage\": {}, \\\" \n" }, "index": 0 }],
            "model": "tide-1b",
            "usage": { "prompt_tokens": 12, "completion_tokens": 345, "details": { "prompt_tokens": 6 } },
        });
        for text in [completion.to_string(), format!("{completion:#}")] {
            check(&text, false, Some(12), Some(345));
        }
        let embedding =
            r#"{"model":"tide-1b","data":[{"embedding":[-0.1,2e3]}],"usage":{"prompt_tokens":8}}"#;
        check(embedding, false, Some(8), None);
        check(
            r#"{"usage":{"output_tokens":2},"model":"tide-1b"}"#,
            false,
            None,
            Some(2),
        );
    }

    #[test]
    fn streams_say_it_in_their_last_events() {
        let openai = "data: {\"model\":\"tide-1b\",\"choices\":[{\"delta\":{\"content\":\"}\"}}],\"usage\":null}\n\n\
            data: {\"model\":\"other\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n\
            data: [DONE]\n\n";
        check(openai, true, Some(1), Some(2));
        let responses = "event: response.completed\r\n\
            data: {\"response\":{\"model\":\"tide-1b\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\r\n\r\n";
        check(responses, true, Some(3), Some(4));
        let anthropic = "event: message_start\n\
            data: {\"type\":\"message_start\",\"message\":{\"model\":\"tide-1b\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
            data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n";
        check(anthropic, true, Some(25), Some(15));
    }

    #[test]
    fn only_the_answers_own_usage_counts() {
        let tool = json!({
            "content": [{ "input": { "usage": { "input_tokens": 99 }, "model": "forged" } }],
            "response": [{ "usage": { "input_tokens": 98 } }],
            "model": "tide-1b",
            "usage": { "input_tokens": 1.5, "output_tokens": "7" },
        });
        check(&tool.to_string(), false, None, None);
    }

    #[test]
    fn a_line_that_is_broken_off_does_not_spoil_the_next() {
        let text = "data: {\"choices\":[{\"text\":\"half\n\
            data: {\"model\":\"tide-1b\",\"usage\":{\"prompt_tokens\":5}}\n";
        check(text, true, Some(5), None);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let long = "x".repeat(1 << 20);
        let mut reader = Reader::new(false);
        reader.read(format!("{{\"{long}\":1,\"model\":\"{long}\"").as_bytes());
        assert_eq!(reader.model(), None);
        assert!(
            reader.text.capacity() <= 4 * LONGEST_NAME,
            "{}",
            reader.text.capacity()
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        let key = prop_oneof![
            proptest::sample::select(vec!["usage", "model", "message", "input_tokens", "output_tokens"])
                .prop_map(ToOwned::to_owned),
            any::<String>(),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_an_answer_holds_is_read_as_a_parser_reads_it(value in any_value(), chunk in 1..50_usize) {
            prop_assume!(value.is_object() && value.get("message").is_none());
            let (usage, model) = read(&value.to_string(), false, chunk);
            let tokens = |name| value["usage"].as_object()?.get(name)?.as_u64();
            let expected = Usage { input: tokens("input_tokens"), output: tokens("output_tokens") };
            prop_assert_eq!(usage, expected);
            let name = value["model"].as_str();
            // Whether a name has escapes in it is up to how it is written.
            prop_assert!(model.as_deref() == name || (model.is_none() && name.is_some()));
        }

        #[test]
        fn bytes_that_are_no_json_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), is_event_stream: bool) {
            Reader::new(is_event_stream).read(&bytes);
        }
    }
}
