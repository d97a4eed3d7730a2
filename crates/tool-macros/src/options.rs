//! What stands in the parentheses of `#[tool(..)]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitBool, LitInt, LitStr, Path, Result, Token, bracketed};

const KNOWN: &str = "there are name, effect, source, sends_out, time_s, answer_bytes, secrets, secret_fields, reconcile and crate";

/// The options as they are written.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) effect: Option<Ident>,
    pub(crate) source: Option<Ident>,
    pub(crate) sends_out: Option<LitBool>,
    pub(crate) time_s: Option<LitInt>,
    pub(crate) answer_bytes: Option<LitInt>,
    pub(crate) secrets: Vec<LitStr>,
    pub(crate) secret_fields: Vec<LitStr>,
    pub(crate) reconcile: Option<Path>,
    home: Option<Path>,
}

impl Options {
    pub(crate) fn read(tokens: TokenStream) -> Result<Options> {
        let mut options = Options::default();
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                options.option(input)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        parser.parse2(tokens)?;
        Ok(options)
    }

    fn option(&mut self, input: ParseStream<'_>) -> Result<()> {
        let (word, span) = if input.peek(Token![crate]) {
            let token: Token![crate] = input.parse()?;
            ("crate".to_owned(), token.span)
        } else {
            let word: Ident = input.parse()?;
            (word.to_string(), word.span())
        };
        input.parse::<Token![=]>()?;
        match word.as_str() {
            "name" => self.name = Some(name(input.parse()?)?),
            "effect" => self.effect = Some(effect(&input.parse()?)?),
            "source" => self.source = Some(source(&input.parse()?)?),
            "sends_out" => self.sends_out = Some(input.parse()?),
            "time_s" => self.time_s = Some(input.parse()?),
            "answer_bytes" => self.answer_bytes = Some(input.parse()?),
            "secrets" => self.secrets = words(input)?,
            "secret_fields" => self.secret_fields = words(input)?,
            "reconcile" => self.reconcile = Some(input.parse()?),
            "crate" => self.home = Some(input.parse()?),
            _ => return Err(Error::new(span, format!("a tool has no `{word}`; {KNOWN}"))),
        }
        Ok(())
    }

    /// The crate `tool` as the caller sees it.
    pub(crate) fn home(&self) -> TokenStream {
        match &self.home {
            Some(home) => quote!(#home),
            None => quote!(::tool),
        }
    }
}

fn words(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let inside;
    bracketed!(inside in input);
    let words = Punctuated::<LitStr, Token![,]>::parse_terminated(&inside)?;
    Ok(words.into_iter().collect())
}

fn effect(word: &LitStr) -> Result<Ident> {
    let variant = match word.value().as_str() {
        "pure" => "Pure",
        "read" => "Read",
        "idempotent" => "Idempotent",
        "irreversible" => "Irreversible",
        other => {
            let what = format!(
                "there is no effect `{other}`; there are pure, read, idempotent and irreversible"
            );
            return Err(Error::new(word.span(), what));
        }
    };
    Ok(format_ident!("{variant}", span = Span::call_site()))
}

fn source(word: &LitStr) -> Result<Ident> {
    let variant = match word.value().as_str() {
        "computed" => "Computed",
        "document" => "Document",
        "web" => "Web",
        "elsewhere" => "Elsewhere",
        "agent" => "Agent",
        other => {
            let what = format!(
                "there is no source `{other}`; there are computed, document, web, elsewhere and agent"
            );
            return Err(Error::new(word.span(), what));
        }
    };
    Ok(format_ident!("{variant}", span = Span::call_site()))
}

/// The same rule as the crate `tool` has for names that are made at run time.
fn name(word: LitStr) -> Result<LitStr> {
    let name = word.value();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let what =
            format!("`{name}` cannot be a tool's name: 1 to 64 letters, digits, `_`, `-` or `.`");
        return Err(Error::new(word.span(), what));
    }
    Ok(word)
}
