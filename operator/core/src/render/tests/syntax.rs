//! NGINX's syntax, as `ngx_conf_read_token` of its `src/core/ngx_conf_file.c` reads it.

/// One directive.
#[derive(Debug, PartialEq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) parameters: Vec<String>,
    pub(super) block: Vec<Directive>,
}

/// The directives of a file.
pub(super) fn directives(content: &str) -> Vec<Directive> {
    let mut tokens = tokens(content).into_iter();
    let directives = block(&mut tokens);
    assert_eq!(tokens.next(), None, "a block is closed that was not opened");
    directives
}

#[derive(Debug, PartialEq)]
enum Token {
    Parameter(String),
    End,
    Open,
    Close,
}

fn block(tokens: &mut impl Iterator<Item = Token>) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut words = Vec::new();
    while let Some(token) = tokens.next() {
        let block = match token {
            Token::Parameter(word) => {
                words.push(word);
                continue;
            }
            Token::End => Vec::new(),
            Token::Open => block(tokens),
            Token::Close => break,
        };
        let mut words = std::mem::take(&mut words).into_iter();
        directives.push(Directive {
            name: words.next().expect("a directive has a name"),
            parameters: words.collect(),
            block,
        });
    }
    assert!(words.is_empty(), "not ended: {words:?}");
    directives
}

fn tokens(content: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = content.chars().peekable();
    while let Some(first) = characters.next() {
        match first {
            ' ' | '\t' | '\r' | '\n' => {}
            ';' => tokens.push(Token::End),
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '#' => while characters.next_if(|character| *character != '\n').is_some() {},
            quote @ ('"' | '\'') => {
                let mut word = String::new();
                loop {
                    match characters.next().expect("a quote is closed") {
                        '\\' => word.extend(unescaped(characters.next().expect("something is escaped"))),
                        character if character == quote => break,
                        character => word.push(character),
                    }
                }
                let next = characters.peek();
                assert!(
                    next.is_none_or(|next| " \t\r\n;{)".contains(*next)),
                    "{next:?} after a quote"
                );
                tokens.push(Token::Parameter(word));
            }
            first => {
                let mut word = first.to_string();
                let mut variable = first == '$';
                // A brace behind a dollar sign belongs to the name of a variable.
                while let Some(character) =
                    characters.next_if(|next| !" \t\r\n;".contains(*next) && (*next != '{' || variable))
                {
                    variable = character == '$';
                    match character {
                        '\\' => word.extend(unescaped(characters.next().expect("something is escaped"))),
                        character => word.push(character),
                    }
                }
                tokens.push(Token::Parameter(word));
            }
        }
    }
    tokens
}

fn unescaped(character: char) -> Vec<char> {
    match character {
        '"' | '\'' | '\\' => vec![character],
        't' => vec!['\t'],
        'r' => vec!['\r'],
        'n' => vec!['\n'],
        other => vec!['\\', other],
    }
}
