//! Formats of strings as patterns. Each is a part of what its format allows, so that what is written
//! under it always has the format: no leap seconds, domain names in ASCII, no quoted mail addresses.

/// A day of the calendar, with 29 February in leap years only.
const DATE: &str = concat!(
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)",
);
const TIME: &str = concat!(
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?",
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
);
const DURATION: &str = concat!(
    "P(?:[0-9]{1,6}W",
    "|(?:[0-9]{1,6}Y(?:[0-9]{1,6}M(?:[0-9]{1,6}D)?)?|[0-9]{1,6}M(?:[0-9]{1,6}D)?|[0-9]{1,6}D)",
    "(?:T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|[0-9]{1,6}S))?",
    "|T(?:[0-9]{1,6}H(?:[0-9]{1,6}M(?:[0-9]{1,6}S)?)?|[0-9]{1,6}M(?:[0-9]{1,6}S)?|[0-9]{1,6}S))",
);
/// A domain name of at most four labels, the last of which has letters only.
const HOST: &str = "(?:[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){0,2}\\.){0,3}[A-Za-z]{2,20}";
const USER: &str = "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30})?";
const IPV4: &str = concat!(
    "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}",
    "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
);
const IPV6: &str = concat!(
    "(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
    "|(?:[0-9a-f]{1,4}:){1,7}:",
    "|(?:[0-9a-f]{1,4}:){1,6}:[0-9a-f]{1,4}",
    "|(?:[0-9a-f]{1,4}:){1,5}(?::[0-9a-f]{1,4}){1,2}",
    "|(?:[0-9a-f]{1,4}:){1,4}(?::[0-9a-f]{1,4}){1,3}",
    "|(?:[0-9a-f]{1,4}:){1,3}(?::[0-9a-f]{1,4}){1,4}",
    "|(?:[0-9a-f]{1,4}:){1,2}(?::[0-9a-f]{1,4}){1,5}",
    "|[0-9a-f]{1,4}:(?::[0-9a-f]{1,4}){1,6}",
    "|:(?:(?::[0-9a-f]{1,4}){1,7}|:)",
);
const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
/// After the host of an address.
const PATH: &str = concat!(
    "(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})*)*",
    "(?:\\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*)?",
    "(?:#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*)?",
);
const OPAQUE: &str = "(?:mailto|urn|tel|data):(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})+";

/// The formats of strings.
pub(super) fn names() -> [&'static str; 10] {
    [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
        "uri",
    ]
}

/// The pattern of a format, without anchors.
pub(super) fn pattern(format: &str) -> Option<String> {
    let pattern = match format {
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "date-time" => format!("{DATE}T{TIME}"),
        "duration" => DURATION.to_owned(),
        "email" => format!("{USER}@{HOST}"),
        "hostname" => HOST.to_owned(),
        "ipv4" => IPV4.to_owned(),
        "ipv6" => IPV6.to_owned(),
        "uuid" => UUID.to_owned(),
        "uri" => {
            format!("(?:https?|ftp|wss?|file)://{HOST}(?::[1-9][0-9]{{0,3}})?{PATH}|{OPAQUE}")
        }
        _ => return None,
    };
    Some(pattern)
}

/// What the formats of integers bound, as generators of schemas write them for the types of languages.
/// Those of 64 bits stop where JSON does.
pub(super) fn integer_bounds(format: &str) -> Option<(i64, i64)> {
    const EXACT: i64 = 9_007_199_254_740_991;
    let bounds = match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" | "int128" | "int" => (-EXACT, EXACT),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" | "uint128" | "uint" => (0, EXACT),
        _ => return None,
    };
    Some(bounds)
}

/// Formats that say nothing about what is written.
pub(super) fn is_note(format: &str) -> bool {
    ["float", "double", "password", "binary"].contains(&format)
}
