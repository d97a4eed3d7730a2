//! What a user sees: exit status, standard output and standard error of the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::io::Read as _;
use std::process::Stdio;

use support::Project;

const PORTS: (&str, &str) = (
    "ports.md",
    "# Ports\n\nThe Alder server listens on port 4711 of all addresses.\n",
);

/// Snapshots with times, ids and scores replaced.
macro_rules! snapshot {
    ($value:expr, @$expected:literal) => {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"\b\d+(\.\d+)? s\b", "[time]");
        settings.add_filter("\"id\": \"[0-9a-f]{16}\"", "\"id\": \"[id]\"");
        settings.add_filter("\"score\": [0-9.]+", "\"score\": [score]");
        settings.bind(|| insta::assert_snapshot!($value, @$expected));
    };
}

#[test]
fn help() {
    let project = Project::new(&[]);
    snapshot!(project.shown(&["--help"]), @r#"
    exit 0
    --- stdout
    Answers questions from your documents with a language model on your own machine; every claim is cited and checked, and every run can be resumed

    Usage: plumb [OPTIONS] <COMMAND>

    Commands:
      research   Answer a question from documents, with a citation for every claim
      chat       Talk with a model or an agent
      run        Let an agent work on an input
      check      Check agents' files
      new        Write a file to begin with
      agents     List the agents of the project
      memory     Look at what agents remember, accept, revert or forget it
      index      Read documents into the project's library, so that they can be searched
      search     Search the library
      tools      List tools, look at one, or call one
      models     List models, or fetch one
      serve      Answer programs over HTTP: models, with OpenAI's API
      mcp        Serve agents and the library over MCP, or deal with the MCP servers that agents use
      runs       List runs, or look at one, settle, compare, cancel, export or import
      resume     Go on with a run that was parked, failed, or killed
      replay     Check a run's code against its journal; nothing is done
      fork       Start a new run that shares the first steps of another one
      watch      Say in a sentence what goes on in a run, until it is over; or tell its agent something
      questions  List the questions that runs ask people
      answer     Answer a question that a run asks
      policy     Look at a policy, check it, or test it with cases
      gc         Delete old runs that nothing points at
      doctor     Check the whole journal for damage
      help       Print this message or the help of the given subcommand(s)

    Options:
          --project <FOLDER>  The folder that holds `.plumb/` [default: the nearest one upwards that has it, else here] [env: PLUMB_PROJECT=]
      -h, --help              Print help
      -V, --version           Print version

    Example:
      plumb research "How does a run survive a crash?" docs/
    --- stderr
    "#);
}

#[test]
fn help_of_research() {
    let project = Project::new(&[]);
    snapshot!(project.shown(&["research", "-h"]), @r#"
    exit 0
    --- stdout
    Answer a question from documents, with a citation for every claim

    Usage: plumb research [OPTIONS] <QUESTION> <PATH>...

    Arguments:
      <QUESTION>  The question
      <PATH>...   Files and folders that may answer it

    Options:
          --model <MODEL>        The model, as provider:name [default: the largest local model that fits this machine] [env: PLUMB_MODEL=]
          --project <FOLDER>     The folder that holds `.plumb/` [default: the nearest one upwards that has it, else here] [env: PLUMB_PROJECT=]
          --depth <DEPTH>        How much work the question is worth [default: normal] [possible values: quick, normal, deep]
          --max-time <TIME>      Begin no new search after this time, such as 90s or 5m
          --agents <FOLDER>      A folder of agent files that take the place of the built-in ones (research/plan.md, ...)
          --budget-usd <AMOUNT>  Park and ask before the models cost more than so many US dollars, such as 0.50
          --budget-tokens <N>    Park and ask once the models have used so many tokens
          --budget-time <TIME>   Park and ask once the run has been worked on for so long, such as 90s or 5m
          --budget-steps <N>     Park and ask after so many steps
          --out <FILE>           Write the report to this file too; its ending says the form: .md, .html or .json (may be repeated)
          --json                 Print the report as JSON
          --base-url <URL>       The address of an OpenAI-compatible server, for models named `openai:NAME` [env: OPENAI_BASE_URL=]
          --threads <N>          Threads of the local engine [default: all cores] [env: PLUMB_THREADS=]
          --context-tokens <N>   Tokens that the local engine keeps at once, of all prompts and answers [default: 12288] [env: PLUMB_CONTEXT_TOKENS=]
          --memory-mb <MB>       The most memory that a local model may need, in MB [default: what is free] [env: PLUMB_MEMORY_MB=]
      -h, --help                 Print help (see more with '--help')

    Examples:
      plumb research "How does a run survive a crash?" docs/
      plumb research "Which ports does it use?" manual.pdf --depth quick --out report.html
      plumb research "..." docs/ --model openai:gpt-5-mini --json
    --- stderr
    "#);
}

#[test]
fn without_a_command() {
    let project = Project::new(&[]);
    let output = project.output(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_path_that_is_not_there() {
    let project = Project::new(&[]);
    snapshot!(project.shown(&["research", "Which port?", "absent.md"]), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot read absent.md: No such file or directory (os error 2)
    hint: name files or folders that are there; a question is one argument, in quotes
    ");
    snapshot!(project.shown(&["index", "absent.md"]), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot read absent.md: No such file or directory (os error 2)
    hint: name files or folders that are there; a question is one argument, in quotes
    ");
    snapshot!(project.shown(&["search", "port", "absent.md"]), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot read absent.md: No such file or directory (os error 2)
    hint: name files or folders that are there; a question is one argument, in quotes
    ");
    assert!(!project.path(".plumb").exists(), "nothing was begun");
}

#[test]
fn a_report_without_a_form() {
    let project = Project::new(&[PORTS]);
    snapshot!(project.shown(&["research", "Which port?", "docs", "--out", "report.doc"]), @"
    exit 1
    --- stdout
    --- stderr
    error: --out report.doc: the ending says the form
    hint: end it with .md, .html or .json
    ");
    snapshot!(project.shown(&["research", "Which port?", "docs", "--out", "report"]), @"
    exit 1
    --- stdout
    --- stderr
    error: --out report: the ending says the form
    hint: end it with .md, .html or .json
    ");
}

#[test]
fn a_model_that_nobody_knows() {
    let project = Project::new(&[PORTS]);
    snapshot!(project.shown(&["research", "Which port?", "docs", "--model", "local:qwen2.5-coder"]), @"
    exit 1
    --- stdout
    --- stderr
    error: there is no model `local:qwen2.5-coder`
    hint: did you mean local:qwen2.5-coder-0.5b or local:qwen2.5-coder-1.5b? plumb models lists all
    ");
    snapshot!(project.shown(&["research", "Which port?", "docs", "--model", "gpt"]), @"
    exit 1
    --- stdout
    --- stderr
    error: there is no model `gpt`
    hint: a model is called provider:name, such as local:NAME or openai:NAME; plumb models lists them
    ");
    snapshot!(project.shown(&["models", "pull", "smollm"]), @"
    exit 1
    --- stdout
    --- stderr
    error: there is no model `smollm`
    hint: did you mean smollm2-135m? plumb models lists all
    ");
}

#[test]
fn a_model_that_is_not_here() {
    let project = Project::new(&[PORTS]);
    snapshot!(project.shown(&["research", "Which port?", "docs", "--model", "local:smollm2-135m"]), @"
    exit 1
    --- stdout
    --- stderr
    error: the model smollm2-135m is not on this machine
    hint: plumb models pull smollm2-135m
    ");
    snapshot!(project.shown(&["research", "Which port?", "docs", "--model", "openai:gpt"]), @"
    exit 1
    --- stdout
    --- stderr
    error: OPENAI_API_KEY is not set, and openai wants a key
    hint: set it, or name another model
    ");
    snapshot!(project.shown(&["runs"]), @r#"
    exit 0
    --- stdout
    --- stderr
    no runs yet
    hint: start one with plumb research "QUESTION" PATH
    "#);
}

#[test]
fn misuse() {
    let project = Project::new(&[PORTS]);
    snapshot!(project.shown(&["research", "Which port?", "docs", "--max-time", "5w"]), @"
    exit 2
    --- stdout
    --- stderr
    error: invalid value '5w' for '--max-time <TIME>': `w` is not a unit of time; write 90s, 5m, 1h or 30d

    For more information, try '--help'.
    ");
    snapshot!(project.shown(&["research", "Which port?"]), @"
    exit 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <PATH>...

    Usage: plumb research <QUESTION> <PATH>...

    For more information, try '--help'.
    ");
    snapshot!(project.shown(&["research", "Which port?", "docs", "--depth", "bottomless"]), @"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'bottomless' for '--depth <DEPTH>'
      [possible values: quick, normal, deep]

    For more information, try '--help'.
    ");
    snapshot!(project.shown(&["research", " ", "docs", "--model", "local:smollm2-135m"]), @r#"
    exit 1
    --- stdout
    --- stderr
    error: the question is empty
    hint: plumb research "QUESTION" PATH
    "#);
}

#[test]
fn a_run_that_nobody_knows() {
    let project = Project::new(&[]);
    snapshot!(project.shown(&["runs", "show", "01zz"]), @"
    exit 1
    --- stdout
    --- stderr
    error: no run `01zz` in this journal; `plumb runs` lists them
    ");
    snapshot!(project.shown(&["resume", "01zz"]), @"
    exit 1
    --- stdout
    --- stderr
    error: no run `01zz` in this journal; `plumb runs` lists them
    ");
}

#[test]
fn no_runs_yet() {
    let project = Project::new(&[]);
    snapshot!(project.shown(&["runs"]), @r#"
    exit 0
    --- stdout
    --- stderr
    no runs yet
    hint: start one with plumb research "QUESTION" PATH
    "#);
    snapshot!(project.shown(&["runs", "--json"]), @"
    exit 0
    --- stdout
    []
    --- stderr
    ");
}

#[test]
fn an_agent_file_with_an_unknown_key() {
    let project = Project::new(&[PORTS]);
    std::fs::create_dir_all(project.path("mine/research")).unwrap();
    let text = "---\nname: research/plan\ntemprature: 1\n---\nPlan it.\n";
    std::fs::write(project.path("mine/research/plan.md"), text).unwrap();
    snapshot!(project.shown(&["research", "Which port?", "docs", "--agents", "mine"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: mine/research/plan.md:3: unknown field `temprature`, expected one of `name`, `description`, `model`, `tools`, `calls_first`, `pattern`, `reflect`, `plan`, `code`, `team`, `listens`, `output`, `memory`, `skills`, `project_notes`, `policy`, `checks`, `limits`, `examples`, `max_tokens`, `temperature`
    hint: did you mean `temperature`?
    ");
}

#[test]
fn a_folder_with_files_that_cannot_be_read() {
    let project = Project::new(&[PORTS, ("empty.md", "")]);
    std::fs::write(project.path("docs/picture.md"), [0, 159, 146, 150, 0, 1, 2]).unwrap();
    std::fs::write(project.path("docs/broken.pdf"), "%PDF-1.7 and then nothing").unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.md", project.path("docs/dangling.md")).unwrap();
    snapshot!(project.shown(&["index", "docs"]), @"
    exit 0
    --- stdout
    4 files: 1 read (0.0 MB, 1 passages), 0 unchanged, 0 removed, 3 skipped; [time]
    library: 1 documents, 1 passages, searched by keywords alone (no embedding model)
    --- stderr
    skipped docs/broken.pdf: it is broken: no catalogue or page tree was found; get it anew or repair it
    skipped docs/empty.md: it has no text; if it is a scan, run it through OCR first
    skipped docs/picture.md: it is not text; convert it to HTML, Markdown, text or PDF
    hint: search is by keywords alone; plumb models pull fetches the embedding model
    ");
    let second = project.json(&["index", "docs", "--json"]);
    assert_eq!(second["read"]["read"], 0, "{second:#}");
    assert_eq!(second["read"]["unchanged"], 1, "{second:#}");
    snapshot!(project.shown(&["search", "alder port"]), @"
    exit 0
    --- stdout
    1. docs/ports.md: Ports
       # Ports The Alder server listens on port 4711 of all addresses.
    --- stderr
    ");
    snapshot!(project.shown(&["search", "alder port", "--json"]), @r##"
    exit 0
    --- stdout
    [
      {
        "id": "[id]",
        "file": "docs/ports.md",
        "title": "Ports",
        "headings": [
          "Ports"
        ],
        "text": "# Ports\n\nThe Alder server listens on port 4711 of all addresses.",
        "range": {
          "start": 0,
          "end": 64
        },
        "places": [],
        "ordinal": 0,
        "score": [score],
        "keyword_rank": 1,
        "vector_rank": null
      }
    ]
    --- stderr
    "##);
    snapshot!(project.shown(&["search", "walrus"]), @r#"
    exit 0
    --- stdout
    --- stderr
    nothing found
    hint: name a path to read it first, as in plumb search "QUERY" PATH
    "#);
}

#[test]
fn what_has_changed_is_read_again() {
    let project = Project::new(&[PORTS]);
    project.json(&["index", "docs", "--json"]);
    std::fs::write(
        project.path("docs/ports.md"),
        "# Ports\n\nIt is 4712 now.\n",
    )
    .unwrap();
    let second = project.json(&["index", "docs", "--json"]);
    assert_eq!(
        (&second["read"]["read"], &second["read"]["removed"]),
        (&1.into(), &0.into())
    );
    let hits = project.json(&["search", "alder", "--json"]);
    assert_eq!(hits, serde_json::json!([]), "what the file no longer says");
}

#[test]
fn search_in_paths_that_were_not_read_reads_them() {
    let project = Project::new(&[
        PORTS,
        ("garden.md", "# Garden\n\nThe Alder tree grows well.\n"),
    ]);
    let hits = project.json(&["search", "alder", "docs/ports.md", "--json"]);
    let files: Vec<&str> = hits
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|hit| hit["file"].as_str())
        .collect();
    assert_eq!(files, ["docs/ports.md"]);
}

#[test]
fn who_stops_reading_the_output_is_no_error() {
    let text = "# Ports\n\nThe Alder server listens on many ports.\n".repeat(400);
    let project = Project::new(&[PORTS, ("many.md", &text)]);
    project.json(&["index", "docs", "--json"]);
    let mut child = project
        .command(&["search", "alder", "--limit", "400", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is written: every write of the program finds nobody.
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}
