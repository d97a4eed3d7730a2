//! From a function to a tool.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, Meta, Pat, PatType, Result,
    ReturnType, Type,
};

use crate::options::Options;

/// A parameter of the function.
enum Parameter {
    /// The model gives it.
    Argument {
        attributes: Vec<Attribute>,
        name: Ident,
        of: Box<Type>,
    },
    /// The call's context, borrowed or not.
    Context { borrowed: bool },
}

pub(crate) fn expand(options: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let options = Options::read(options)?;
    let mut function: ItemFn = syn::parse2(function)?;
    check(&function)?;
    let description = described(&function.attrs);
    if description.is_empty() {
        let what = "a tool wants a doc comment: models read it to know what the tool is for";
        return Err(Error::new(function.sig.ident.span(), what));
    }
    let parameters = parameters(&mut function)?;
    let spec = spec(&options, &function.sig.ident, &description);
    let arguments = arguments(&options, &parameters);
    let call = call(&options, &function, &parameters);
    let (home, name, visibility) = (options.home(), &function.sig.ident, &function.vis);
    let reconcile = options.reconcile.as_ref().map(|reconcile| {
        quote! {
            fn reconcile(
                &self,
                arguments: #home::macros::Value,
                context: #home::Context,
            ) -> #home::macros::BoxFuture<'_, #home::Result<#home::Reconciled>> {
                ::std::boxed::Box::pin(#reconcile(arguments, context))
            }
        }
    });
    // A struct with braces is no value, so the function keeps its name, and `let` may use it.
    let about = format!("The tool that calls the function `{name}`.");
    Ok(quote! {
        #function

        #[doc = #about]
        #[allow(non_camel_case_types, reason = "it bears the name of its function")]
        #visibility struct #name {}

        impl #name {
            /// The tool.
            #visibility fn tool() -> ::std::sync::Arc<dyn #home::Tool> {
                ::std::sync::Arc::new(#name {})
            }
        }

        const _: () = {
            #arguments

            impl #home::Tool for #name {
                fn spec(&self) -> &#home::Spec {
                    static SPEC: ::std::sync::OnceLock<#home::Spec> = ::std::sync::OnceLock::new();
                    SPEC.get_or_init(|| #spec)
                }

                fn call(
                    &self,
                    arguments: #home::macros::Value,
                    context: #home::Context,
                ) -> #home::macros::BoxFuture<'_, #home::Result<#home::macros::Value>> {
                    ::std::boxed::Box::pin(async move { #call })
                }

                #reconcile
            }
        };
    })
}

/// Says what a function must not have to be a tool.
fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        let what =
            "a tool is an `async fn`; work that blocks belongs into `tokio::task::spawn_blocking`";
        return Err(Error::new(signature.fn_token.span(), what));
    }
    if !signature.generics.params.is_empty() {
        let what = "a tool has no generics: its schema is made from concrete types";
        return Err(Error::new(signature.generics.span(), what));
    }
    Ok(())
}

/// Reads the parameters, and takes from them what only the schema needs.
fn parameters(function: &mut ItemFn) -> Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    for input in &mut function.sig.inputs {
        let parameter = match input {
            FnArg::Typed(parameter) => read_parameter(parameter)?,
            FnArg::Receiver(receiver) => {
                let what = "a tool has no `self`; for tools with a state there is `tool::Function`";
                return Err(Error::new(receiver.span(), what));
            }
        };
        let is_context = |one: &Parameter| matches!(one, Parameter::Context { .. });
        if is_context(&parameter) && parameters.iter().any(is_context) {
            return Err(Error::new(input.span(), "a tool has one context"));
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn read_parameter(parameter: &mut PatType) -> Result<Parameter> {
    if let Some(borrowed) = context(&parameter.ty) {
        return Ok(Parameter::Context { borrowed });
    }
    if let Type::Reference(_) = &*parameter.ty {
        let what = "what a model gives is owned: write `String` for text, `Vec<T>` for a list";
        return Err(Error::new(parameter.ty.span(), what));
    }
    let Pat::Ident(name) = &*parameter.pat else {
        let what = "a parameter of a tool has a name, which models read";
        return Err(Error::new(parameter.pat.span(), what));
    };
    Ok(Parameter::Argument {
        attributes: std::mem::take(&mut parameter.attrs),
        name: name.ident.clone(),
        of: parameter.ty.clone(),
    })
}

/// Whether a type is the context, and whether it is borrowed.
fn context(of: &Type) -> Option<bool> {
    match of {
        Type::Reference(reference) => context(&reference.elem).map(|_| true),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            (last.ident == "Context" && last.arguments.is_none()).then_some(false)
        }
        _ => None,
    }
}

/// The struct that arguments are read into, and that the schema is made from.
fn arguments(options: &Options, parameters: &[Parameter]) -> TokenStream {
    let home = options.home();
    let path = |name: &str| format!("{home}::macros::{name}").replace(' ', "");
    let (serde, schemars) = (path("serde"), path("schemars"));
    let fields = parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Argument {
            attributes,
            name,
            of,
        } => Some(quote!(#(#attributes)* #name: #of)),
        Parameter::Context { .. } => None,
    });
    quote! {
        #[derive(#home::macros::serde::Deserialize, #home::macros::schemars::JsonSchema)]
        #[serde(crate = #serde, deny_unknown_fields)]
        #[schemars(crate = #schemars)]
        struct Arguments {
            #(#fields),*
        }
    }
}

fn spec(options: &Options, function: &Ident, description: &str) -> TokenStream {
    let home = options.home();
    let name = match &options.name {
        Some(name) => name.value(),
        None => function.to_string().trim_start_matches("r#").to_owned(),
    };
    let mut fields = TokenStream::new();
    if let Some(effect) = &options.effect {
        fields.extend(quote!(effect: #home::Effect::#effect,));
    }
    if let Some(source) = &options.source {
        fields.extend(quote!(source: #home::Source::#source,));
    }
    if let Some(sends_out) = &options.sends_out {
        fields.extend(quote!(sends_out: ::std::option::Option::Some(#sends_out),));
    }
    if !options.secrets.is_empty() {
        let secrets = &options.secrets;
        fields.extend(quote!(secrets: ::std::vec![#(#secrets.to_owned()),*],));
    }
    if !options.secret_fields.is_empty() {
        let names = &options.secret_fields;
        fields.extend(quote!(secret_fields: ::std::vec![#(#names.to_owned()),*],));
    }
    let mut limits = TokenStream::new();
    if let Some(time_s) = &options.time_s {
        limits.extend(quote!(time: ::std::time::Duration::from_secs(#time_s),));
    }
    if let Some(bytes) = &options.answer_bytes {
        limits.extend(quote!(answer_bytes: #bytes,));
    }
    if !limits.is_empty() {
        let default = quote!(<#home::Limits as ::std::default::Default>::default());
        fields.extend(quote!(limits: #home::Limits { #limits ..#default },));
    }
    let base = quote!(#home::Spec::of::<Arguments>(#name, #description));
    if fields.is_empty() {
        base
    } else {
        quote!(#home::Spec { #fields ..#base })
    }
}

/// The body of `Tool::call`.
fn call(options: &Options, function: &ItemFn, parameters: &[Parameter]) -> TokenStream {
    let (home, name) = (options.home(), &function.sig.ident);
    let given = parameters.iter().map(|parameter| match parameter {
        Parameter::Argument { name, .. } => quote!(arguments.#name),
        Parameter::Context { borrowed: true } => quote!(&context),
        Parameter::Context { borrowed: false } => quote!(context),
    });
    let answer = quote!(#name(#(#given),*).await);
    let answer = if returns_result(&function.sig.output) {
        quote! {
            match #answer {
                ::std::result::Result::Ok(answer) => answer,
                ::std::result::Result::Err(error) => {
                    return ::std::result::Result::Err(#home::Error::from(error));
                }
            }
        }
    } else {
        answer
    };
    // Without parameters, what is read is not used, and neither may be the context.
    quote! {
        let arguments: Arguments = #home::macros::read(arguments)?;
        let _ = (&arguments, &context);
        let answer = #answer;
        #home::macros::answer(&answer)
    }
}

/// Whether what comes back is spelt as a `Result`: the type itself cannot be asked here.
fn returns_result(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, of) => match &**of {
            Type::Path(path) => {
                let last = path.path.segments.last();
                last.is_some_and(|last| last.ident == "Result")
            }
            _ => false,
        },
        ReturnType::Default => false,
    }
}

fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// The text of doc comments, with the lines of a paragraph put together.
fn described(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter(|one| is_doc(one))
        .filter_map(|one| {
            let Meta::NameValue(pair) = &one.meta else {
                return None;
            };
            match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            }
        });
    let text: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    let paragraphs = text.split(|line| line.is_empty());
    let paragraphs = paragraphs.map(|lines| lines.join(" "));
    let paragraphs: Vec<String> = paragraphs.filter(|text| !text.is_empty()).collect();
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compiler says to a function that cannot be a tool.
    fn refused(options: &str, function: &str) -> String {
        let tokens = |text: &str| {
            text.parse::<TokenStream>()
                .map_err(|error| error.to_string())
        };
        match (tokens(options), tokens(function)) {
            (Ok(options), Ok(function)) => match expand(options, function) {
                Ok(_) => "accepted".to_owned(),
                Err(error) => error.to_string(),
            },
            (Err(error), _) | (_, Err(error)) => error,
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let good = "/// Looks up.\nasync fn lookup(order: String) -> String { order }";
        let said: Vec<String> = [
            ("", good),
            ("", "async fn lookup(order: String) {}"),
            ("", "/// Looks up.\nfn lookup(order: String) {}"),
            ("", "/// Looks up.\nasync fn lookup<T>(order: T) {}"),
            ("", "/// Looks up.\nasync fn lookup(&self) {}"),
            ("", "/// Looks up.\nasync fn lookup((a, b): (u8, u8)) {}"),
            ("", "/// Looks up.\nasync fn lookup(order: &str) {}"),
            (
                "",
                "/// Looks up.\nasync fn lookup(a: Context, b: &Context) {}",
            ),
            ("", "struct Lookup;"),
            ("effect = \"harmless\"", good),
            ("effect = read", good),
            ("source = \"heaven\"", good),
            ("source = \"web\", sends_out = true", good),
            ("sends_out = 3", good),
            ("efect = \"read\"", good),
            ("name = \"look up\"", good),
            ("effect = \"read\" name = \"a\"", good),
        ]
        .iter()
        .map(|(options, function)| refused(options, function))
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        accepted
        a tool wants a doc comment: models read it to know what the tool is for
        a tool is an `async fn`; work that blocks belongs into `tokio::task::spawn_blocking`
        a tool has no generics: its schema is made from concrete types
        a tool has no `self`; for tools with a state there is `tool::Function`
        a parameter of a tool has a name, which models read
        what a model gives is owned: write `String` for text, `Vec<T>` for a list
        a tool has one context
        expected `fn`
        there is no effect `harmless`; there are pure, read, idempotent and irreversible
        expected string literal
        there is no source `heaven`; there are computed, document, web, elsewhere and agent
        accepted
        expected boolean literal
        a tool has no `efect`; there are name, effect, source, sends_out, time_s, answer_bytes, secrets, secret_fields, reconcile and crate
        `look up` cannot be a tool's name: 1 to 64 letters, digits, `_`, `-` or `.`
        expected `,`
        ");
    }

    #[test]
    fn doc_comments_are_read_as_paragraphs() {
        let function = "/// Looks an order\n/// up.\n///\n/// Only ours.\nasync fn lookup() {}";
        let function: Result<ItemFn> = syn::parse_str(function);
        let text = function.map(|function| described(&function.attrs));
        assert_eq!(
            text.ok().as_deref(),
            Some("Looks an order up.\n\nOnly ours.")
        );
    }
}
