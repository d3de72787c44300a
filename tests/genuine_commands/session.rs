//! Sessions: text files of command lines and what is expected of each, run with the genuine client and with our own.
//!
//! ```text
//! # A remark.
//! $ profile get p1 user.a        both clients run it; it ends well and says nothing on standard error, unless told otherwise below
//! < text                         a line of its standard input
//! > text                         a line of its output, which has no others; their order is tested of our client alone
//! ~ text                         its output holds this
//! ! text                         it fails with code 1, and this is what it says
//! = 3                            it ends with this code
//! ? /1.0/profiles/p1 /name p1    what the API then says at that place of that object; `-` is nothing there
//! ? /1.0/profiles/p1 gone        there is no such object
//! : test -e {dir}/file           this ends well in the daemon's surroundings
//! set name cat {dir}/file        from now on `{name}` stands for what this says
//! % console c1                   as `$`, on a terminal
//! expect text                    the terminal shows this
//! send text                      this is typed, with a return; `^A` is the control key and A
//! leave ^Aq                      this is typed until the command ends
//! ```
//!
//! With `lxc` or `coffer` right before its sign a line is for that client alone. `{dir}`, `{image}`, `{metadata}`, `{rootfs}` and
//! `{fingerprint}` stand for a directory of the session's own and for the image `small` and its files.

use coffer_testkit::{Daemon, Done, Invocation, images};
use serde_json::Value;

/// Which client a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// LXD's own.
    Genuine,
    /// Ours.
    Ours,
}

/// A command line and what is expected of it.
#[derive(Debug)]
pub struct Step {
    /// Where it stands: file and line.
    pub place: String,
    /// Its words.
    pub words: Vec<String>,
    only: Option<Client>,
    on_terminal: bool,
    expected: Vec<(Option<Client>, Expected)>,
}

#[derive(Debug)]
enum Expected {
    Input(String),
    Line(String),
    Holds(String),
    Fails(String),
    Code(i32),
    Answer(String),
    Effect(String),
    Set(String, String),
    Shows(String),
    Typed(String),
    Left(String),
}

/// Reads a session.
pub fn read(name: &str, text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (only, sign) = match (sign.strip_prefix("lxc"), sign.strip_prefix("coffer")) {
            (Some(sign), _) => (Some(Client::Genuine), sign),
            (_, Some(sign)) => (Some(Client::Ours), sign),
            _ => (None, sign),
        };
        let expected = match sign {
            "" | "#" => continue,
            "$" | "%" => {
                steps.push(Step { place, words: words(rest), only, on_terminal: sign == "%", expected: Vec::new() });
                continue;
            }
            "<" => Expected::Input(rest.to_owned()),
            ">" => Expected::Line(rest.trim_end().to_owned()),
            "~" => Expected::Holds(rest.to_owned()),
            "!" => Expected::Fails(rest.to_owned()),
            "=" => Expected::Code(rest.parse().unwrap_or_else(|_| panic!("{place}: no code"))),
            "?" => Expected::Answer(rest.to_owned()),
            ":" => Expected::Effect(rest.to_owned()),
            "set" => {
                let (name, script) = rest.split_once(' ').unwrap_or_else(|| panic!("{place}: set what?"));
                Expected::Set(format!("{{{name}}}"), script.to_owned())
            }
            "expect" => Expected::Shows(rest.to_owned()),
            "send" => Expected::Typed(rest.to_owned()),
            "leave" => Expected::Left(rest.to_owned()),
            _ => panic!("{place}: what is {sign:?}?"),
        };
        let step = steps.last_mut().unwrap_or_else(|| panic!("{place}: nothing to expect it of"));
        step.expected.push((only, expected));
    }
    steps
}

impl Step {
    /// The command itself.
    pub fn invocation(&self, daemon: &Daemon, client: Client) -> Invocation {
        match client {
            Client::Genuine => daemon.lxc(&self.words),
            Client::Ours => daemon.coffer(&self.words),
        }
    }

    /// What a terminal is to show first.
    pub fn shown(&self) -> String {
        let shown =
            self.expected.iter().find_map(|(_, expected)| if let Expected::Shows(text) = expected { Some(text.clone()) } else { None });
        shown.unwrap_or_else(|| panic!("{}: nothing is expected", self.place))
    }

    /// Whether a client runs it.
    pub fn is_for(&self, client: Client) -> bool {
        self.only.is_none_or(|only| only == client)
    }
}

/// Runs a session with each client, tells all that was not as expected, and expects that each leaves the world as it found it.
#[track_caller]
pub fn run(daemon: &Daemon, name: &str, text: &str) {
    let steps = read(name, text);
    for client in [Client::Genuine, Client::Ours] {
        run_with(daemon, client, &steps);
    }
}

/// Runs a session's steps with one client.
#[track_caller]
pub fn run_with(daemon: &Daemon, client: Client, steps: &[Step]) {
    let before = daemon.world();
    let mut runner = Runner::new(daemon, client);
    for step in steps.iter().filter(|step| step.is_for(client)) {
        runner.step(step);
    }
    assert!(runner.wrong.is_empty(), "with {client:?}:\n{}", runner.wrong.join("\n"));
    daemon.expect_nothing_since(&before);
}

/// One client, what the words in braces stand for, and what was wrong so far.
struct Runner<'d> {
    daemon: &'d Daemon,
    client: Client,
    stands_for: Vec<(String, String)>,
    wrong: Vec<String>,
}

impl<'d> Runner<'d> {
    fn new(daemon: &'d Daemon, client: Client) -> Self {
        let directory = daemon.scratch().join(format!("{client:?}"));
        std::fs::create_dir_all(&directory).expect("a directory of the session's own");
        let image = images::busybox();
        let rootfs = image.squashfs.expect("mksquashfs is among the test packages");
        let fingerprint = daemon.api().get("/1.0/images/aliases/small")["target"].as_str().expect("the image").to_owned();
        let shown = |path: std::path::PathBuf| path.display().to_string();
        let stands_for = [
            ("{dir}", shown(directory)),
            ("{image}", shown(image.unified)),
            ("{metadata}", shown(image.metadata)),
            ("{rootfs}", shown(rootfs)),
            ("{fingerprint}", fingerprint),
        ];
        let stands_for = stands_for.map(|(word, meaning)| (word.to_owned(), meaning)).into();
        Self { daemon, client, stands_for, wrong: Vec::new() }
    }

    fn fill(&self, text: &str) -> String {
        self.stands_for.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
    }

    fn invocation(&self, step: &Step) -> Invocation {
        let words = step.words.iter().map(|word| self.fill(word));
        match self.client {
            Client::Genuine => self.daemon.lxc(words),
            Client::Ours => self.daemon.coffer(words),
        }
    }

    fn step(&mut self, step: &Step) {
        let fits = |only: &Option<Client>| only.is_none_or(|only| only == self.client);
        let here: Vec<&Expected> = step.expected.iter().filter(|(only, _)| fits(only)).map(|(_, is)| is).collect();
        let mut wrong = if step.on_terminal { self.on_terminal(step, &here) } else { self.to_its_end(step, &here) };
        for expected in here {
            match expected {
                Expected::Answer(question) => wrong.extend(self.ask(&self.fill(question))),
                Expected::Effect(script) => {
                    let done = self.daemon.inside("sh", ["-c", &self.fill(script)]).run();
                    wrong.extend((done.code != 0).then(|| done.to_string()));
                }
                Expected::Set(name, script) => {
                    let said = self.daemon.inside("sh", ["-c", &self.fill(script)]).ok();
                    self.stands_for.push((name.clone(), said.trim().to_owned()));
                }
                _ => {}
            }
        }
        self.wrong.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", step.place)));
    }

    fn to_its_end(&self, step: &Step, expected: &[&Expected]) -> Vec<String> {
        let typed = |one: &&Expected| if let Expected::Input(line) = one { Some(format!("{}\n", self.fill(line))) } else { None };
        let input: Vec<String> = expected.iter().filter_map(typed).collect();
        let done = self.invocation(step).input(input.concat()).run();
        let (output, mut lines, mut wrong) = (done.text(), Vec::new(), Vec::new());
        let (mut code, mut quiet) = (0, true);
        for one in expected {
            match one {
                Expected::Line(line) => lines.push(self.fill(line)),
                Expected::Holds(text) if !output.contains(&self.fill(text)) => wrong.push(format!("no {text:?}")),
                Expected::Fails(text) => {
                    (code, quiet) = (1, false);
                    if !done.stderr.contains(&self.fill(text)) {
                        wrong.push(format!("no {text:?} in its error"));
                    }
                }
                // One that says its code says also that it may speak.
                Expected::Code(number) => (code, quiet) = (*number, false),
                _ => {}
            }
        }
        if done.code != code {
            wrong.push(format!("not code {code}"));
        }
        if quiet && !done.stderr.trim().is_empty() {
            wrong.push("words on standard error".to_owned());
        }
        if !lines.is_empty() {
            let mut said = said(&done);
            // The genuine client prints maps in another order each time.
            if self.client == Client::Genuine {
                said.sort_unstable();
                lines.sort_unstable();
            }
            if said != lines {
                wrong.push(format!("not {lines:?}"));
            }
        }
        wrong.into_iter().map(|why| format!("{why}: {done}")).collect()
    }

    fn on_terminal(&self, step: &Step, expected: &[&Expected]) -> Vec<String> {
        eprintln!("on a terminal, {}, with {:?}", step.place, self.client);
        let mut terminal = self.daemon.on_terminal(self.invocation(step), 120, 40);
        let (mut code, mut last) = (0, None);
        for one in expected {
            match one {
                Expected::Left(text) => last = Some(keys(&self.fill(text))),
                Expected::Shows(text) => terminal.expect(&self.fill(text)),
                Expected::Typed(text) => terminal.send(&keys(&self.fill(text))),
                Expected::Code(number) => code = *number,
                _ => {}
            }
        }
        let screen = terminal.screen().to_owned();
        let ended = match last {
            Some(keys) => terminal.leave(&keys),
            None => terminal.finish(),
        };
        if ended == code { Vec::new() } else { vec![format!("code {ended}: {screen}")] }
    }

    fn ask(&self, question: &str) -> Option<String> {
        let (path, wanted) = question.split_once(' ').unwrap_or((question, ""));
        let answer = self.daemon.api().request("GET", path, None).expect("an answer").json();
        if wanted == "gone" {
            return (answer["error_code"] != 404).then(|| format!("{path} is there: {answer}"));
        }
        let (pointer, value) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let is = match answer["metadata"].pointer(pointer) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        (answer["type"] != "sync" || is != value).then(|| format!("{question}: {answer}"))
    }
}

/// The lines that a command wrote; empty ones are for the eye.
fn said(done: &Done) -> Vec<String> {
    done.text().lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Keys as a session names them.
fn keys(text: &str) -> String {
    match text.strip_prefix('^').and_then(|rest| rest.split_at_checked(1)) {
        Some((letter, rest)) => format!("{}{rest}", char::from(letter.as_bytes()[0] & 0x1f)),
        None => format!("{text}\n"),
    }
}

/// Words as a shell would see them: spaces part them, except between single quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[test]
fn words_are_parted_as_a_shell_parts_them() {
    assert_eq!(words("a 'b c'  d='e'' ' ''"), ["a", "b c", "d=e ", ""]);
}
