//! The chat template that a model ships.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use minijinja::{Environment, Value, context};

use super::tokens;
use crate::{Error, Message, Result};

/// Used where a model ships no template; most small models know this form.
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// A chat template, ready to render.
pub(super) struct Template {
    environment: Environment<'static>,
}

impl Template {
    pub(super) fn of(model: &LlamaModel) -> Result<Template> {
        let source = model
            .chat_template(None)
            .ok()
            .and_then(|template| template.to_string().ok())
            .unwrap_or_else(|| CHATML.to_owned());
        let mut environment = Environment::new();
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<String, minijinja::Error> {
                Err(minijinja::Error::new(
                    minijinja::ErrorKind::InvalidOperation,
                    message,
                ))
            },
        );
        environment
            .add_template_owned("chat", source)
            .map_err(|error| failed(&error))?;
        Ok(Template { environment })
    }

    /// The prompt of a conversation, up to where the assistant begins to speak.
    ///
    /// The template is rendered with a mark in the place of each content, and the contents are
    /// tokenised on their own: whatever a document contains, it cannot end a message or begin one.
    pub(super) fn tokens(
        &self,
        model: &LlamaModel,
        messages: &[Message],
    ) -> Result<Vec<LlamaToken>> {
        let mark = |index: usize| format!("\u{e000}{index}\u{e001}");
        let marked: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                Value::from_pairs([
                    ("role", message.role.as_str().to_owned()),
                    ("content", mark(index)),
                ])
            })
            .collect();
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| failed(&error))?;
        let vocabulary = model.vocab();
        let variables = context! {
            messages => marked,
            add_generation_prompt => true,
            bos_token => tokens::name(model, vocabulary.bos()),
            eos_token => tokens::name(model, vocabulary.eos()),
        };
        let rendered = template.render(variables).map_err(|error| failed(&error))?;
        let mut prompt = Vec::new();
        let mut rest = rendered.as_str();
        for (index, message) in messages.iter().enumerate() {
            let mark = mark(index);
            let Some((before, after)) = rest.split_once(&mark) else {
                let message = format!("its chat template leaves out message {index}");
                return Err(Error::Engine { message });
            };
            prompt.extend(tokens::template(model, before));
            prompt.extend(tokens::plain(model, &message.text()));
            rest = after;
        }
        prompt.extend(tokens::template(model, rest));
        // Some templates begin with it and some leave it to the tokenizer.
        if vocabulary.should_add_bos() && prompt.first() != Some(&vocabulary.bos()) {
            prompt.insert(0, vocabulary.bos());
        }
        Ok(prompt)
    }
}

fn failed(error: &minijinja::Error) -> Error {
    Error::Engine {
        message: format!("the model's chat template does not render: {error}"),
    }
}
