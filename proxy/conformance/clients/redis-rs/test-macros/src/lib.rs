//! `#[async_test]`, as the tests of redis-rs use it. The crate of that name is part of their repository and not
//! published; this one is ours and does what can be seen from the uses:
//!
//! - A function without parameters becomes a test that runs it on tokio.
//! - One that takes a connection (`impl …`) becomes two: with a multiplexed connection to a fresh server, and with a
//!   connection manager.
//! - One that takes a `bool` becomes two.
//!
//! The repository's own also knows a second runtime, which the suite here is built without.

use proc_macro::{TokenStream, TokenTree};

/// See the crate's documentation.
#[proc_macro_attribute]
pub fn async_test(_: TokenStream, function: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = function.clone().into_iter().collect();
    let Some([_, name, parameters, ..]) =
        tokens.windows(3).find(|three| matches!(&three[0], TokenTree::Ident(word) if word.to_string() == "fn"))
    else {
        return "compile_error!(\"#[async_test] is for functions\");".parse().expect("valid Rust");
    };
    let (name, parameters) = (name.to_string(), parameters.to_string());

    const CONTEXT: &str = "let context = crate::support::TestContext::new();";
    let cases = if parameters.contains("impl ") {
        vec![
            case("multiplexed", &format!("{CONTEXT} {name}(context.async_connection().await.unwrap()).await")),
            case("manager", &format!("{CONTEXT} {name}(context.client.get_connection_manager().await.unwrap()).await")),
        ]
    } else if parameters.contains("bool") {
        vec![case("true", &format!("{name}(true).await")), case("false", &format!("{name}(false).await"))]
    } else {
        vec![case("tokio", &format!("{name}().await"))]
    };
    format!("mod {name} {{ use super::*; {function} {} }}", cases.concat()).parse().expect("valid Rust")
}

fn case(name: &str, body: &str) -> String {
    format!(
        "#[test] fn case_{name}() {{
            let () = crate::support::block_on_all(async {{ {body} }}, crate::support::RuntimeType::Tokio);
        }}"
    )
}
