//! Tools that come with Plumb.

mod files;
mod math;
mod time;

pub use files::Files;
pub use math::tool as math;
pub use time::tool as time;
