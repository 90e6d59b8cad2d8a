//! Variables as text.

use std::cell::RefCell;
use std::env::VarError;

/// The process's variables. Remembers those that were asked for and cannot be read as text.
#[derive(Debug, Default)]
pub struct Environment {
    not_text: RefCell<Vec<String>>,
}

impl Environment {
    /// The value of `name`. One that is not UTF-8 counts as unset.
    pub fn get(&self, name: &str) -> Option<String> {
        match std::env::var(name) {
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                let mut not_text = self.not_text.borrow_mut();
                if !not_text.iter().any(|known| known == name) {
                    not_text.push(name.to_owned());
                }
                None
            }
        }
    }

    /// One warning for each variable that counted as unset though it is set. Its value is not shown.
    pub fn into_warnings(self) -> impl Iterator<Item = String> {
        self.not_text.into_inner().into_iter().map(|name| format!("{name} is not valid UTF-8 and ignored"))
    }
}
