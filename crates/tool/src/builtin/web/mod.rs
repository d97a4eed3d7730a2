//! `web.fetch` and `web.search`: pages of the web as text, and where to find them.

mod fetch;
mod search;

pub use fetch::{Page, ReadPage, WebFetch};
pub use search::{Engine, WebSearch};
