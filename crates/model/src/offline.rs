//! A switch that forbids calls to other machines: `PLUMB_OFFLINE=1`.

use crate::{Error, Result};

/// # Errors
/// [`Error::Setting`] when `address` is none, or leads to another machine while `$PLUMB_OFFLINE` is set.
pub(crate) fn check(address: &str) -> Result<()> {
    let forbidden =
        std::env::var("PLUMB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    check_as(address, forbidden || cfg!(test))
}

fn check_as(address: &str, forbidden: bool) -> Result<()> {
    // `host:8080` is read as an address whose scheme is `host`.
    let url = reqwest::Url::parse(address).ok();
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(Error::Setting {
            message:
                "the address of a server begins with http:// or https://, and this one does not"
                    .to_owned(),
            hint: "write it like http://127.0.0.1:8080/v1".to_owned(),
        });
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if !forbidden || host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Ok(());
    }
    Err(Error::Setting {
        message: format!("{host} is another machine, and PLUMB_OFFLINE forbids calling it"),
        hint: "unset PLUMB_OFFLINE, or take a local model".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called_where_calls_are_forbidden() {
        for (address, here) in [
            ("http://127.0.0.1:1/v1", true),
            ("http://[::1]:1/", true),
            ("http://localhost:11434/", true),
            ("https://api.example.com/v1", false),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
        ] {
            assert_eq!(check_as(address, true).is_ok(), here, "{address}");
            assert!(check_as(address, false).is_ok(), "{address}");
        }
        for none in ["nowhere", "localhost:8080/v1", "127.0.0.1:8080"] {
            assert!(check_as(none, false).is_err(), "{none}");
        }
    }
}
