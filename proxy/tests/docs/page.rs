//! The repository's documents, as far as these tests look at them.

use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One document.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The blocks of code, with their language.
    pub(crate) blocks: Vec<(String, String)>,
    /// Inline code.
    pub(crate) code: Vec<String>,
    /// Where links lead, with their text.
    pub(crate) links: Vec<(String, String)>,
    /// The anchors of the headings.
    pub(crate) anchors: Vec<String>,
    /// The rows of all tables, without their heads: the text of each cell, and the inline code in it.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) code: Vec<String>,
    /// The links in it: text and destination.
    pub(crate) links: Vec<(String, String)>,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file of the repository.
pub(crate) fn all() -> Vec<Page> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    paths.sort();
    assert!(paths.len() > 15, "the documents are not found: {paths:?}");
    paths.iter().map(|path| page(path)).collect()
}

/// The document at `path`, from the root.
pub(crate) fn page(path: &str) -> Page {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page::parse(path.to_owned(), text)
}

fn collect(folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules", "corpus", "artifacts"].contains(&name) {
                collect(&path, paths);
            }
        } else if name.ends_with(".md") {
            paths.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

impl Page {
    fn parse(path: String, text: String) -> Self {
        let mut page = Self { path, ..Self::default() };
        let (mut heading, mut link) = (None::<String>, None::<(String, String)>);
        let (mut block, mut cell) = (None::<(String, String)>, None::<Cell>);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.anchors.extend(heading.take().map(|heading| anchor(&heading))),
                Event::Start(Tag::Link { dest_url, .. }) => link = Some((String::new(), dest_url.to_string())),
                Event::End(TagEnd::Link) => {
                    let link = link.take().unwrap();
                    if let Some(cell) = &mut cell {
                        cell.links.push(link.clone());
                    }
                    page.links.push(link);
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some((language, String::new()));
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::TableRow) => page.rows.push(Vec::new()),
                Event::Start(Tag::TableCell) => cell = Some(Cell::default()),
                Event::End(TagEnd::TableCell) => {
                    // The head of a table has cells and is no row.
                    if let (Some(row), Some(cell)) = (page.rows.last_mut(), cell.take()) {
                        row.push(cell);
                    }
                }
                Event::Start(Tag::TableHead) => page.rows.push(Vec::new()),
                Event::End(TagEnd::TableHead) => drop(page.rows.pop()),
                Event::Text(text) | Event::Code(text) if block.is_some() => {
                    block.as_mut().unwrap().1.push_str(&text);
                }
                Event::Text(ref piece) | Event::Code(ref piece) => {
                    let parts = [heading.as_mut(), link.as_mut().map(|link| &mut link.0)];
                    let parts = parts.into_iter().flatten().chain(cell.as_mut().map(|cell| &mut cell.text));
                    parts.for_each(|text| text.push_str(piece));
                    if matches!(event, Event::Code(_)) {
                        page.code.push(piece.to_string());
                        cell.iter_mut().for_each(|cell| cell.code.push(piece.to_string()));
                    }
                }
                _ => {}
            }
        }
        page.text = text;
        page
    }

    /// The rows of the table whose head holds `first` as its first cell.
    pub(crate) fn table(&self, first: &str) -> Vec<&Vec<Cell>> {
        let head = self.text.lines().position(|line| line.starts_with(&format!("| {first} |")));
        let head = head.unwrap_or_else(|| panic!("{}: no table that begins with {first:?}", self.path));
        let count = self.text.lines().skip(head + 2).take_while(|line| line.starts_with('|')).count();
        let before = self.text.lines().take(head).filter(|line| line.starts_with("|---")).count();
        let rows_before = self.text.lines().take(head).filter(|line| line.starts_with('|')).count() - 2 * before;
        self.rows.iter().skip(rows_before).take(count).collect()
    }

    /// The lines of its shell snippets without comments, with lines that end in `\` joined to the next.
    pub(crate) fn shell_lines(&self) -> Vec<String> {
        let blocks = self.blocks.iter().filter(|(language, _)| language == "sh");
        let lines = blocks.map(|(_, text)| text.replace("\\\n", " "));
        lines.flat_map(|text| text.lines().map(without_comment).collect::<Vec<_>>()).filter(|l| !l.is_empty()).collect()
    }
}

/// A shell line up to a `#` after white space.
fn without_comment(line: &str) -> String {
    let end = [line.find(" #"), line.starts_with('#').then_some(0)].into_iter().flatten().min();
    line[..end.unwrap_or(line.len())].trim().to_owned()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}
