//! The page: one HTML document, joined from the files of `proxy/view/page`, and the policy that lets it run nothing else.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("../page/index.html");
const STYLE: &str = concat!(include_str!("../page/style.css"), include_str!("../page/views.css"));

/// The scripts in the order in which they stand in the document. A script uses only those before it until all are there.
const SCRIPTS: &[&str] = &[
    include_str!("../page/format.js"),
    include_str!("../page/route.js"),
    include_str!("../page/tree.js"),
    include_str!("../page/scale.js"),
    include_str!("../page/listing.js"),
    include_str!("../page/colours.js"),
    include_str!("../page/rules.js"),
    include_str!("../page/dom.js"),
    include_str!("../page/notice.js"),
    include_str!("../page/rows.js"),
    include_str!("../page/pieces.js"),
    include_str!("../page/server.js"),
    include_str!("../page/filters.js"),
    include_str!("../page/scatter.js"),
    include_str!("../page/transactions.js"),
    include_str!("../page/minimap.js"),
    include_str!("../page/waterfall.js"),
    include_str!("../page/details.js"),
    include_str!("../page/trace.js"),
    include_str!("../page/graph-layout.js"),
    include_str!("../page/graph-model.js"),
    include_str!("../page/graph.js"),
    include_str!("../page/refresh.js"),
    include_str!("../page/channels.js"),
    include_str!("../page/untraced.js"),
    include_str!("../page/theme.js"),
    include_str!("../page/keys.js"),
    include_str!("../page/files.js"),
    include_str!("../page/start.js"),
    include_str!("../page/app.js"),
];

const STYLE_PLACE: &str = "<!-- style -->";
const SCRIPT_PLACE: &str = "<!-- script -->";

/// The page with its policy.
#[derive(Debug)]
pub(crate) struct Page {
    /// The HTML document, with its style and its script.
    pub(crate) html: String,
    /// The value of `Content-Security-Policy`.
    pub(crate) policy: String,
}

/// The page of this build.
pub(crate) fn page() -> &'static Page {
    static PAGE: LazyLock<Page> = LazyLock::new(|| Page::join(DOCUMENT, STYLE, SCRIPTS));
    &PAGE
}

impl Page {
    fn join(document: &str, style: &str, scripts: &[&str]) -> Self {
        let script = scripts.join("\n");
        let html = document.replacen(STYLE_PLACE, &format!("<style>{style}</style>"), 1).replacen(
            SCRIPT_PLACE,
            &format!("<script>{script}</script>"),
            1,
        );
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(style)
        );
        Self { html, policy }
    }
}

/// The source in a policy that stands for exactly this text.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_exactly_what_is_in_the_document() {
        let page = Page::join("<head><!-- style --></head><body><!-- script --></body>", "p{}", &["a();", "b();"]);
        assert_eq!(page.html, "<head><style>p{}</style></head><body><script>a();\nb();</script></body>");
        // By `printf 'p{}' | openssl dgst -sha256 -binary | base64`, and so on.
        assert!(page.policy.contains(&format!("script-src '{}'", hash("a();\nb();"))));
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn the_page_is_whole_and_asks_for_nothing_elsewhere() {
        let html = &page().html;
        assert!(!html.contains(STYLE_PLACE) && !html.contains(SCRIPT_PLACE));
        assert_eq!(html.matches("<script").count(), 1, "the only script is the joined one");
        assert_eq!(html.matches("</script").count(), 1, "no script holds the end of one");
        assert_eq!(html.matches("<style").count(), 1);
        assert_eq!(html.matches("</style").count(), 1);
        for foreign in [" style=\"", " onclick=", " onload=", "eval(", "innerHTML", "new Function"] {
            assert!(!html.contains(foreign), "the policy forbids {foreign:?}");
        }
        let links = html
            .match_indices("http")
            .filter(|(at, _)| html[*at..].starts_with("http://") || html[*at..].starts_with("https://"));
        for (at, _) in links {
            // The name of SVG, and the command that is shown before anything has come.
            assert!(
                ["http://www.w3.org/", "http://${http} "].iter().any(|allowed| html[at..].starts_with(allowed)),
                "{}",
                html[at..].chars().take(60).collect::<String>()
            );
        }
    }
}
