//! `math`: arithmetic, which models are bad at.

use std::sync::Arc;

use serde_json::Number;

use crate::{Result, Tool, tool};

/// The tool.
pub fn tool() -> Arc<dyn Tool> {
    math::tool()
}

/// The longest expression, in bytes.
const MOST_BYTES: usize = 1_000;
/// How deep parentheses may go.
const MOST_DEPTH: usize = 50;

/// Works out an arithmetic expression, such as (17 + 4) * 2.5. Knows + - * / % ^, parentheses, pi, e, sqrt,
/// abs, round, floor, ceil, ln, log10, exp, sin, cos, tan, min and max.
#[tool(effect = "pure", source = "computed", time_s = 5)]
async fn math(
    /// The expression.
    expression: String,
) -> Result<String> {
    let value = evaluate(&expression)?;
    // With the question before it: a small model loses track of a number alone.
    Ok(format!("{} = {}", expression.trim(), shown(value)))
}

/// What is exact is shown as a whole number; else as many digits as are certain.
fn shown(value: f64) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        // Whole, and within what an i64 holds.
        return Number::from(value as i64);
    }
    let rounded: f64 = format!("{value:.14e}").parse().unwrap_or(value);
    Number::from_f64(rounded).unwrap_or_else(|| Number::from(0))
}

fn evaluate(expression: &str) -> Result<f64, String> {
    if expression.len() > MOST_BYTES {
        return Err(format!("the expression is longer than {MOST_BYTES} bytes"));
    }
    let mut reader = Reader {
        text: expression,
        at: 0,
        depth: 0,
    };
    let value = reader.sum()?;
    match reader.peek() {
        None if value.is_finite() => Ok(value),
        None => Err("the result is not a number: divided by zero, or too large".to_owned()),
        Some(other) => Err(reader.wrong(&format!("`{other}` is not expected"))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        let spaces = rest.len() - rest.trim_start().len();
        self.at += spaces;
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn wrong(&self, what: &str) -> String {
        format!(
            "{what} at character {}",
            self.text[..self.at].chars().count() + 1
        )
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value += self.product()?;
            } else if self.take('-') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.signed()?;
        loop {
            if self.take('*') {
                value *= self.signed()?;
            } else if self.take('/') {
                value /= self.signed()?;
            } else if self.take('%') {
                value %= self.signed()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn signed(&mut self) -> Result<f64, String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.wrong("the expression is nested too deep"));
        }
        let value = if self.take('-') {
            -self.signed()?
        } else if self.take('+') {
            self.signed()?
        } else {
            self.power()?
        };
        self.depth -= 1;
        Ok(value)
    }

    /// Binds closer than a sign to its left, and from the right: -2^2 is -4, 2^3^2 is 512.
    fn power(&mut self) -> Result<f64, String> {
        let base = self.atom()?;
        match self.take('^') {
            true => Ok(base.powf(self.signed()?)),
            false => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<f64, String> {
        match self.peek() {
            Some('(') => {
                self.take('(');
                let value = self.sum()?;
                self.close()?;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.named(),
            Some(other) => Err(self.wrong(&format!("`{other}` is not expected"))),
            None => Err("the expression ends too early".to_owned()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        match self.take(')') {
            true => Ok(()),
            false => Err(self.wrong("`)` is missing")),
        }
    }

    fn number(&mut self) -> Result<f64, String> {
        let rest = self.rest();
        let digits = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
        let mut end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
        let after = rest.get(end..).unwrap_or_default();
        if let Some(exponent) = after.strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let figures = exponent.get(sign..).unwrap_or_default();
            let length = figures
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(figures.len());
            if length > 0 {
                end += 1 + sign + length;
            }
        }
        let text = rest.get(..end).unwrap_or_default().replace('_', "");
        let value = text
            .parse()
            .map_err(|_| self.wrong(&format!("`{text}` is no number")))?;
        self.at += end;
        Ok(value)
    }

    fn named(&mut self) -> Result<f64, String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().to_owned();
        self.at += end;
        match name.as_str() {
            "pi" => return Ok(std::f64::consts::PI),
            "e" => return Ok(std::f64::consts::E),
            _ => {}
        }
        if !self.take('(') {
            return Err(self.wrong(&format!("`{name}` is not known")));
        }
        let mut given = vec![self.sum()?];
        while self.take(',') {
            given.push(self.sum()?);
        }
        self.close()?;
        apply(&name, &given)
            .ok_or_else(|| self.wrong(&format!("there is no `{name}` of {} numbers", given.len())))
    }
}

fn apply(name: &str, given: &[f64]) -> Option<f64> {
    let one = |function: fn(f64) -> f64| match given {
        [value] => Some(function(*value)),
        _ => None,
    };
    match name {
        "sqrt" => one(f64::sqrt),
        "abs" => one(f64::abs),
        "round" => one(f64::round),
        "floor" => one(f64::floor),
        "ceil" => one(f64::ceil),
        "ln" => one(f64::ln),
        "log10" => one(f64::log10),
        "exp" => one(f64::exp),
        "sin" => one(f64::sin),
        "cos" => one(f64::cos),
        "tan" => one(f64::tan),
        "min" => given.iter().copied().reduce(f64::min),
        "max" => given.iter().copied().reduce(f64::max),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worked_out(expression: &str) -> String {
        match evaluate(expression) {
            Ok(value) => shown(value).to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn expressions_are_worked_out() {
        for (expression, expected) in [
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("-2^2", "-4"),
            ("2^3^2", "512"),
            ("2^-1", "0.5"),
            ("7 % 4", "3"),
            ("0.1 + 0.2", "0.3"),
            ("1_000 * 1e3", "1000000"),
            ("max(3, 9, 4) - min(1, 2)", "8"),
            ("round(sqrt(2) * 100) / 100", "1.41"),
            ("2 * pi", "6.28318530717959"),
            (
                "1 / 0",
                "the result is not a number: divided by zero, or too large",
            ),
            ("1 +", "the expression ends too early"),
            ("(1 + 2", "`)` is missing at character 7"),
            ("2 apples", "`a` is not expected at character 3"),
            ("apples", "`apples` is not known at character 7"),
            (
                "sqrt(1, 2)",
                "there is no `sqrt` of 2 numbers at character 11",
            ),
            ("", "the expression ends too early"),
        ] {
            assert_eq!(worked_out(expression), expected, "{expression}");
        }
        let deep = "(".repeat(400);
        assert!(worked_out(&deep).starts_with("the expression is nested too deep"));
    }

    proptest! {
        #[test]
        fn it_never_panics(expression in "[0-9a-z+*/%^(),. _ä-]{0,60}") {
            let _ = evaluate(&expression);
        }

        #[test]
        fn sums_of_whole_numbers_are_exact(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            prop_assert_eq!(worked_out(&format!("{a} + {b}")), (a + b).to_string());
            prop_assert_eq!(worked_out(&format!("({a}) * ({b})")), (a * b).to_string());
        }
    }
}
