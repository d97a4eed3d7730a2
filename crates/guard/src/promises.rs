//! Kept promises: a reply that says that something was done needs the call that did it. No model is asked.
//!
//! English only, and on the careful side: what is asked, negated, or only offered is no promise; neither is a
//! sentence such as "it has been sent" about what a tool or the user said themselves.

use crate::Heard;

/// A call that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The tool.
    pub tool: String,
    /// What it is for.
    pub description: String,
    /// Whether it changes the world.
    pub writes: bool,
    /// Whether another agent did it, of which nobody knows here what it did.
    pub by_agent: bool,
    /// Whether it went well.
    pub well: bool,
}

/// Words that say the same was done, and the beginnings of words by which a tool that does it is known.
struct Family {
    done: &'static [&'static str],
    tools: &'static [&'static str],
    /// Whether it is also said of text, so that only a thing of the world makes it a promise.
    of_text: bool,
}

const FAMILIES: &[Family] = &[
    Family {
        done: &[
            "sent",
            "emailed",
            "mailed",
            "forwarded",
            "notified",
            "messaged",
            "texted",
            "replied",
        ],
        tools: &[
            "send", "sent", "mail", "email", "forward", "notif", "messag", "sms", "repl", "post",
            "invit",
        ],
        of_text: false,
    },
    Family {
        done: &["refunded", "reimbursed", "credited"],
        tools: &["refund", "reimburs", "credit", "pay", "transfer"],
        of_text: false,
    },
    Family {
        done: &["paid", "transferred", "wired", "charged"],
        tools: &[
            "pay",
            "transfer",
            "wire",
            "charg",
            "transaction",
            "refund",
            "money",
        ],
        of_text: false,
    },
    Family {
        done: &["booked", "reserved", "scheduled", "rescheduled"],
        tools: &[
            "book",
            "reserv",
            "schedul",
            "calendar",
            "appointment",
            "event",
            "meeting",
        ],
        of_text: false,
    },
    Family {
        done: &["cancelled", "canceled", "revoked"],
        tools: &["cancel", "revok", "delet", "remov"],
        of_text: false,
    },
    Family {
        done: &["deleted", "erased", "wiped"],
        tools: &[
            "delet", "eras", "remov", "wip", "clear", "drop", "shell", "sql",
        ],
        of_text: false,
    },
    Family {
        done: &["ordered", "purchased", "bought"],
        tools: &["order", "purchas", "buy", "checkout"],
        of_text: false,
    },
    Family {
        done: &[
            "posted",
            "published",
            "uploaded",
            "shared",
            "submitted",
            "deployed",
        ],
        tools: &[
            "post", "publish", "upload", "shar", "submit", "deploy", "send", "writ", "creat",
        ],
        of_text: false,
    },
    Family {
        done: &["saved", "stored"],
        tools: &[
            "sav", "stor", "writ", "creat", "append", "put", "remember", "file",
        ],
        of_text: false,
    },
    Family {
        done: &[
            "created",
            "opened",
            "registered",
            "added",
            "removed",
            "updated",
            "changed",
            "renamed",
            "moved",
            "closed",
            "written",
        ],
        tools: &[
            "creat", "open", "regist", "add", "remov", "delet", "updat", "chang", "renam", "mov",
            "clos", "writ", "set", "edit", "insert", "invit", "sql", "shell",
        ],
        of_text: true,
    },
];

/// Things of the world, of which it is meant that they were changed.
const THINGS: &[&str] = &[
    "account",
    "address",
    "appointment",
    "booking",
    "branch",
    "calendar",
    "channel",
    "contact",
    "customer",
    "event",
    "file",
    "folder",
    "invoice",
    "issue",
    "meeting",
    "order",
    "password",
    "payment",
    "record",
    "reminder",
    "repository",
    "reservation",
    "subscription",
    "task",
    "ticket",
    "transaction",
    "user",
];

/// Words after which nothing is promised as done.
const NOT_DONE: &[&str] = &[
    "not", "never", "no", "cannot", "nothing", "none", "unable", "failed", "will", "would",
    "could", "can", "should", "may", "might", "shall", "if", "once", "unless", "until", "before",
    "when", "after", "want", "like", "need", "going", "please",
];

/// Words between who did it and what was done.
const BETWEEN: &[&str] = &[
    "have",
    "just",
    "already",
    "also",
    "now",
    "successfully",
    "then",
    "and",
    "been",
    "both",
];

/// Sentences of a reply that say something was done which no call did. `tools` are those of the agent that
/// change the world: name and description.
pub fn broken(reply: &str, heard: &Heard, tools: &[(String, String)]) -> Vec<String> {
    let sentences = reply.split_inclusive(['.', '!', '?', '\n', ';']);
    let sentences = sentences
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty());
    let unkept = sentences.filter(|sentence| {
        let families = promised(sentence, heard);
        families.iter().any(|family| !is_kept(family, heard, tools))
    });
    unkept.map(str::to_owned).collect()
}

fn is_kept(family: &Family, heard: &Heard, tools: &[(String, String)]) -> bool {
    let does = |name: &str, description: &str| {
        let text = format!("{name} {description}").to_lowercase();
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| family.tools.iter().any(|stem| word.starts_with(stem)))
    };
    // Where no tool is known to do it, any that writes may be the one.
    let is_known = tools
        .iter()
        .any(|(name, description)| does(name, description));
    let mut done = heard.deeds().filter(|deed| deed.well);
    done.any(|deed| {
        deed.by_agent || deed.writes && (!is_known || does(&deed.tool, &deed.description))
    })
}

/// What a sentence promises as done.
fn promised(sentence: &str, heard: &Heard) -> Vec<&'static Family> {
    if sentence.ends_with('?') {
        return Vec::new();
    }
    let plain = sentence.to_lowercase().replace('\u{2019}', "'");
    let plain = plain
        .replace("'ve", " have")
        .replace("n't", " not")
        .replace("'ll", " will");
    let words: Vec<&str> = plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let mut families = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let family = FAMILIES.iter().find(|family| family.done.contains(word));
        let Some(family) = family else { continue };
        let before = words.get(..place).unwrap_or_default();
        if before.iter().any(|word| NOT_DONE.contains(word)) {
            continue;
        }
        let is_thing = |word: &&str| THINGS.contains(&word.trim_end_matches('s'));
        if family.of_text && !words.iter().any(is_thing) {
            continue;
        }
        let is_promise = match who(before) {
            Who::Speaker => true,
            // It may be the news of a tool or of the user.
            Who::Nobody => !heard.grounds().has_word(word),
            Who::Somebody => false,
        };
        if is_promise {
            families.push(family);
        }
    }
    families
}

/// Who is said to have done it.
enum Who {
    /// I, or we.
    Speaker,
    /// It has been done, or only "Sent."
    Nobody,
    /// Somebody else, or something that was so.
    Somebody,
}

fn who(before: &[&str]) -> Who {
    let mut back = before
        .iter()
        .rev()
        .skip_while(|word| BETWEEN.contains(word));
    match back.next() {
        Some(&"i" | &"we") => Who::Speaker,
        None => Who::Nobody,
        Some(&"done" | &"ok" | &"okay") if before.len() == 1 => Who::Nobody,
        _ => {
            let last = before.last().copied().unwrap_or_default();
            let second = before.iter().rev().nth(1).copied().unwrap_or_default();
            let passive = matches!(
                (second, last),
                ("has" | "have", "been") | ("is" | "are", "now")
            );
            // "Email sent", "The refund was successfully sent".
            if passive || last == "successfully" || before.len() <= 2 && !is_pronoun(before) {
                return Who::Nobody;
            }
            // "I refunded the order and sent the mail": the speaker goes on.
            let goes_on = before
                .first()
                .is_some_and(|first| matches!(*first, "i" | "we"));
            match goes_on && last == "and" {
                true => Who::Speaker,
                false => Who::Somebody,
            }
        }
    }
}

fn is_pronoun(before: &[&str]) -> bool {
    let others = [
        "you", "he", "she", "they", "it", "who", "was", "were", "had", "is", "are", "be", "the",
        "a", "an", "to",
    ];
    before.iter().any(|word| others.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Label, Labels};

    fn tools() -> Vec<(String, String)> {
        let tool = |name: &str, what: &str| (name.to_owned(), what.to_owned());
        vec![
            tool("orders.refund", "Pays money back."),
            tool("mail.send", "Sends a mail."),
        ]
    }

    fn did(tool: &str, well: bool) -> Deed {
        Deed {
            tool: tool.to_owned(),
            description: String::new(),
            writes: true,
            by_agent: false,
            well,
        }
    }

    fn unkept(reply: &str, deeds: &[Deed]) -> usize {
        let mut heard = Heard::default();
        heard.text(
            "The parcel was shipped and delivered, says the carrier: it was sent on Monday.",
            &Labels::from(Label::Tool),
        );
        deeds.iter().for_each(|deed| heard.called(deed.clone()));
        broken(reply, &heard, &tools()).len()
    }

    #[test]
    fn what_was_promised_has_to_be_done() {
        for reply in [
            "I have refunded 80 francs.",
            "I've just refunded the order.",
            "Done. We refunded you 80 francs.",
            "Your order has been refunded.",
            "Refunded.",
            "Order refunded!",
            "The amount was successfully refunded.",
            "I looked into it. I have now also refunded the order, sorry.",
        ] {
            assert_eq!(unkept(reply, &[]), 1, "{reply}");
            assert_eq!(unkept(reply, &[did("mail.send", true)]), 1, "{reply}");
            assert_eq!(unkept(reply, &[did("orders.refund", false)]), 1, "{reply}");
            assert_eq!(unkept(reply, &[did("orders.refund", true)]), 0, "{reply}");
        }
    }

    #[test]
    fn what_is_not_promised_is_let_through() {
        for reply in [
            "Shall I have it refunded?",
            "I could not refund it: nothing was refunded.",
            "I haven't sent the mail.",
            "I can get it refunded if you like.",
            "Once you have sent the parcel back, we will refund it.",
            "It has been sent on Monday.",
            "You sent it back in May.",
            "The customer who sent this wants a refund.",
            "I have written a summary and added a title.",
            "I've updated the wording of your sentence.",
            "I have no order A-17.",
        ] {
            assert_eq!(unkept(reply, &[]), 0, "{reply}");
        }
    }

    #[test]
    fn things_of_the_world_are_meant() {
        assert_eq!(unkept("I've created the ticket.", &[]), 1);
        assert_eq!(unkept("I have updated the customer's address.", &[]), 1);
        // No tool is known to do that, so any that writes may have.
        assert_eq!(
            unkept("I've created the ticket.", &[did("mail.send", true)]),
            0
        );
        let by_agent = Deed {
            by_agent: true,
            writes: false,
            ..did("helper", true)
        };
        assert_eq!(unkept("I have refunded 80 francs.", &[by_agent]), 0);
    }
}
