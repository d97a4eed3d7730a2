//! `plumb mcp` without a command: agents and the library as a server.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use server::is_loopback;
use server::mcp::{self, Offer};
use tokio::net::TcpListener;
use tool::{Secrets, Toolbox};

use super::offer::{self, AgentTool};
use crate::arguments::Mcp;
use crate::commands::agents::Workshop;
use crate::commands::{models, serve};
use crate::project::Project;
use crate::view;

/// Serves until the client goes, or Ctrl-C.
pub async fn run(project: &Project, arguments: Mcp) -> Result<ExitCode> {
    if let Some(listen) = arguments
        .listen
        .filter(|listen| arguments.no_token && !is_loopback(listen))
    {
        bail!(
            "without a token, {listen} would let everybody in who can reach it\nhint: leave out --no-token, or listen at 127.0.0.1"
        );
    }
    let journal = project.journal()?;
    let workshop = Workshop::new(project, models::open(&arguments.provider)?);
    let mut tools = Toolbox::new();
    for file in offer::files(&arguments.agents)? {
        let agent = AgentTool::new(&workshop, &journal, &file, arguments.model.clone());
        let agent = agent.with_context(|| format!("cannot serve {}", file.display()))?;
        tools.add(Arc::new(agent))?;
    }
    if !arguments.no_library {
        let library = project.library(models::embedding_files())?;
        for tool in offer::library(&library) {
            tools.add(tool)?;
        }
    }
    let servers = project.servers();
    let passed = arguments.servers.iter().map(|name| servers.passed(name));
    let passed = passed.collect::<Result<Vec<_>, _>>()?;
    if tools.is_empty() && passed.is_empty() {
        bail!(
            "there is nothing to serve\nhint: name an agent's file or a --server, or leave out --no-library"
        );
    }
    let mut names: Vec<String> = tools.iter().map(|tool| tool.spec().shown_name()).collect();
    names.extend(passed.iter().map(|server| format!("{}/*", server.name())));
    let offer = Offer {
        tools,
        passed,
        secrets: Secrets::default(),
        instructions: "Agents take one task each, with all that they have to know. The library's tools read the documents of the project.".to_owned(),
        seal: project.seal()?,
    };
    let Some(listen) = arguments.listen else {
        view::say(&format!(
            "serving {} over standard input and output",
            names.join(", ")
        ));
        let served = mcp::over_stdio(offer, serve::stopped()).await;
        return match served {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(message) => bail!("the client at standard input: {message}"),
        };
    };
    let (token, shown) = serve::token(arguments.token, arguments.no_token)?;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen at {listen}\nhint: another program may be listening there; choose another --listen")
    })?;
    let address = listener.local_addr()?;
    view::say(&format!(
        "serving {} at http://{address}{}; Ctrl-C ends it",
        names.join(", "),
        mcp::PATH
    ));
    if let Some(shown) = shown {
        view::say(&format!("the token is {shown}"));
    }
    mcp::over_http(listener, offer, token, serve::stopped()).await?;
    Ok(ExitCode::SUCCESS)
}
