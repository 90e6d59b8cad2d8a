//! The server's own table of commands and, where it documents them, their arguments.

use std::collections::BTreeMap;

use crate::support::wire::{Value, Wire};

/// A command or subcommand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Documented {
    /// The name in lower case: `client|kill`.
    pub(crate) name: String,
    /// The kind of key that it works on, as in `sorted-set`; `generic` for any.
    pub(crate) group: String,
    /// Whether the server says what its arguments are.
    pub(crate) has_docs: bool,
    /// Whether it can be called only with a subcommand.
    pub(crate) is_container: bool,
    pub(crate) arguments: Vec<Argument>,
}

/// An argument as `COMMAND DOCS` describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Argument {
    pub(crate) name: String,
    /// `key`, `string`, `integer`, `double`, `pattern`, `unix-time`, `pure-token`, `oneof` or `block`
    pub(crate) kind: String,
    /// The word before the argument.
    pub(crate) token: Option<String>,
    pub(crate) optional: bool,
    pub(crate) multiple: bool,
    /// Whether the token is repeated too.
    pub(crate) multiple_token: bool,
    /// The arguments of a `oneof` or `block`.
    pub(crate) arguments: Vec<Argument>,
}

impl Documented {
    /// The words of its name.
    pub(crate) fn words(&self) -> Vec<Vec<u8>> {
        self.name.split('|').map(|word| word.to_ascii_uppercase().into_bytes()).collect()
    }
}

/// All commands in `COMMAND LIST`, sorted by name.
pub(crate) async fn table(wire: &mut Wire) -> Vec<Documented> {
    let Value::Array(names) = wire.call("COMMAND LIST").await else { panic!("no COMMAND LIST") };
    let mut table: BTreeMap<String, Documented> = names
        .iter()
        .map(|name| text(name).to_ascii_lowercase())
        .map(|name| (name.clone(), Documented { name, group: "generic".to_owned(), ..Documented::default() }))
        .collect();
    let Value::Array(docs) = wire.call("COMMAND DOCS").await else { panic!("no COMMAND DOCS") };
    for pair in docs.chunks_exact(2) {
        document(&mut table, &text(&pair[0]), &pair[1]);
    }
    // Newer servers list subcommands among the commands. All servers list them in the documentation or in COMMAND INFO.
    let containers: Vec<String> = table.keys().filter_map(|name| Some(name.split_once('|')?.0.to_owned())).collect();
    for name in containers {
        if let Some(container) = table.get_mut(&name) {
            container.is_container = true;
        }
    }
    table.into_values().collect()
}

fn document(table: &mut BTreeMap<String, Documented>, name: &str, docs: &Value) {
    let fields = map(docs);
    let name = name.to_ascii_lowercase();
    let entry = table.entry(name.clone()).or_default();
    entry.name = name;
    entry.has_docs = true;
    entry.group = fields.get("group").map_or_else(|| "generic".to_owned(), text);
    entry.arguments = fields.get("arguments").map(arguments).unwrap_or_default();
    if let Some(Value::Array(subcommands)) = fields.get("subcommands") {
        for pair in subcommands.chunks_exact(2) {
            document(table, &text(&pair[0]), &pair[1]);
        }
    }
}

fn arguments(value: &Value) -> Vec<Argument> {
    let Value::Array(list) = value else { panic!("{value:?} instead of arguments") };
    list.iter()
        .map(|one| {
            let fields = map(one);
            let flags = match fields.get("flags") {
                Some(Value::Array(flags)) => flags.iter().map(text).collect(),
                _ => Vec::new(),
            };
            let has = |flag: &str| flags.iter().any(|one| one == flag);
            let field = |name: &str| fields.get(name).map(text);
            Argument {
                name: field("name").unwrap_or_default(),
                kind: field("type").expect("an argument has a type"),
                token: field("token").filter(|token| !token.is_empty()),
                optional: has("optional"),
                multiple: has("multiple"),
                multiple_token: has("multiple_token"),
                arguments: fields.get("arguments").map(arguments).unwrap_or_default(),
            }
        })
        .collect()
}

fn map(value: &Value) -> BTreeMap<String, Value> {
    let Value::Array(list) = value else { panic!("{value:?} instead of a map") };
    list.chunks_exact(2).map(|pair| (text(&pair[0]), pair[1].clone())).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Status(text) => text.clone(),
        other => panic!("{other:?} instead of a text"),
    }
}
