//! Running a program of a step inside, its output told line by line.

use std::collections::VecDeque;
use std::io::{self, Write};

use coffer_api::InstanceExecPost;
use coffer_client::ExecStreams;
use coffer_client::websocket::{Flow, pump};
use tokio::sync::mpsc;

use super::work::Work;
use super::{Report, users};
use crate::error::BuildError;
use crate::recipe::Run;

/// Lines of output that a failure shows.
const LAST: usize = 20;

/// Where programs are looked for, if the base does not say it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program in the started instance, waits for its end and stops the instance.
pub(super) async fn run(work: &Work<'_>, run: &Run, report: &dyn Report) -> Result<(), BuildError> {
    let (user, group) = if run.user.is_empty() { (0, 0) } else { users::resolve(&mut work.client.sftp(&work.name).await?, &run.user)? };
    let mut environment = run.environment.clone();
    if !work.facts.process.contains_key("environment.PATH") {
        environment.entry("PATH".into()).or_insert_with(|| PATH.into());
    }
    environment.entry("SOURCE_DATE_EPOCH".into()).or_insert_with(|| work.facts.epoch.to_string());
    let cwd = if run.directory.is_empty() { "/".to_owned() } else { run.directory.clone() };
    let request = InstanceExecPost { command: run.command.clone(), environment, user, group, cwd, ..Default::default() };
    let session = work.client.exec(&work.name, &request).await?;
    let end = session.end();
    let (control_in, control) = session.control.split();
    let (lines, mut heard) = mpsc::unbounded_channel();
    let mut flows = vec![Flow::drained(control_in)];
    let ExecStreams::Pipes { stdin, stdout, stderr } = session.streams else {
        return Err(BuildError::Lacking { what: "how a program's output is read" });
    };
    let (stdin_in, stdin) = stdin.split();
    flows.push(Flow::drained(stdin_in));
    flows.push(Flow::to(stdout.split().0, Box::new(Lines { rest: Vec::new(), lines: lines.clone() })));
    flows.push(Flow::to(stderr.split().0, Box::new(Lines { rest: Vec::new(), lines })));
    // A program that has ended already needs to hear nothing.
    let _ = stdin.mark_end();
    let pumped = tokio::task::spawn_blocking(move || pump(flows));
    let mut last = VecDeque::new();
    let mut hear = |line: String| {
        report.line(&line);
        if last.len() == LAST {
            last.pop_front();
        }
        last.push_back(line);
    };
    let mut end = std::pin::pin!(end);
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended?,
            Some(line) = heard.recv() => hear(line),
        }
    };
    // Whatever it left running ends now, and with it the last who could write.
    work.stop().await?;
    while let Some(line) = heard.recv().await {
        hear(line);
    }
    let flowed = pumped.await.unwrap_or(Ok(()));
    drop(control);
    let command = short(&run.command);
    if !ended.error.is_empty() {
        return Err(BuildError::NotStarted { command, reason: ended.error });
    }
    flowed.map_err(|cause| BuildError::Local { doing: "reading a program's output", cause })?;
    if ended.code == 0 { Ok(()) } else { Err(BuildError::Failed { command, status: ended.code, output: last.into() }) }
}

/// A command as a person would type it; of a script the script.
fn short(command: &[String]) -> String {
    let text = match command {
        [_, option, script] if option.starts_with('-') && option.ends_with('c') => script.trim().to_owned(),
        words => coffer_model::command_line::join(words),
    };
    let cut: String = text.chars().take(300).collect();
    if cut.len() < text.len() { format!("{cut} …") } else { cut }
}

/// Cuts a stream into lines.
struct Lines {
    rest: Vec<u8>,
    lines: mpsc::UnboundedSender<String>,
}

impl Lines {
    fn tell(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        // What a terminal would take for a command is nothing to show; of what was overwritten the last counts.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        let plain: String = text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).take(2000).collect();
        // With nobody who listens it is dropped.
        let _ = self.lines.send(plain);
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=at).collect();
            self.tell(&line);
        }
        if self.rest.len() > 64 << 10 {
            let line = std::mem::take(&mut self.rest);
            self.tell(&line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.tell(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_plain_lines() {
        let (lines, mut heard) = mpsc::unbounded_channel();
        let mut sink = Lines { rest: Vec::new(), lines };
        sink.write_all(b"one\ntw").unwrap();
        sink.write_all(b"o\x1b[2J\n10%\r20%\nrest").unwrap();
        drop(sink);
        let got: Vec<String> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(got, ["one", "two[2J", "20%", "rest"]);
    }

    #[test]
    fn commands_are_shown_as_they_were_written() {
        let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(short(&words("/bin/sh|-ec|apt-get clean\n")), "apt-get clean");
        assert_eq!(short(&words("make|a b")), "make 'a b'");
    }
}
