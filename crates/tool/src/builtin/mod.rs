//! Tools that come with Plumb.

mod files;
mod http;
mod math;
mod net;
mod sandbox;
mod sql;
mod time;
mod web;

pub use files::Files;
pub use http::{Auth, AuthPlace, Http};
pub use math::tool as math;
pub use net::{Reach, RequestLimits};
pub use sandbox::{Sandbox, SandboxLimits};
pub use sql::{Database, Sql, SqlLimits};
pub use time::{date, days, tool as time};
pub use web::{Engine, Page, ReadPage, WebFetch, WebSearch};
