//! Tools that come with Plumb.

mod files;
mod math;
mod sql;
mod time;

pub use files::Files;
pub use math::tool as math;
pub use sql::{Database, Sql, SqlLimits};
pub use time::tool as time;
