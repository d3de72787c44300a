//! Operations and events.

use coffer_api::{
    Event, EventGap, EventKind, Lifecycle, LifecycleRequestor, Logging, Operation, OperationClass, OperationLogEntry, StatusCode,
};
use coffer_engine::{Class, EventBody, OperationView};
use coffer_model::{LoggedOperation, ProjectName, Time};

use super::{NO_MEMBER, url, when};

/// An operation.
#[must_use]
pub fn operation(view: &OperationView) -> Operation {
    let resources = view.resources.iter().map(|(kind, urls)| ((*kind).to_owned(), urls.clone()));
    let metadata = view.metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
    Operation {
        id: view.id.to_string(),
        class: class(view.class),
        description: view.description.to_owned(),
        created_at: view.created_at.into(),
        updated_at: view.updated_at.into(),
        status: view.status.word().to_owned(),
        status_code: StatusCode(u16::try_from(view.status.code()).expect("status codes have three digits")),
        resources: (!view.resources.is_empty()).then(|| resources.collect()),
        metadata: (!view.metadata.is_empty()).then(|| metadata.collect()),
        may_cancel: view.may_cancel,
        err: view.err.clone(),
        location: NO_MEMBER.into(),
        requestor: view.requestor.as_ref().map(|caller| requestor(&caller.username, caller.protocol, &caller.address)),
    }
}

/// An operation as it is remembered.
#[must_use]
pub fn logged_operation(logged: &LoggedOperation) -> OperationLogEntry {
    OperationLogEntry {
        id: logged.id.clone(),
        class: class(logged.class),
        description: logged.description.clone(),
        project: logged.project.to_string(),
        status: logged.status.word().to_owned(),
        status_code: StatusCode(u16::try_from(logged.status.code()).expect("status codes have three digits")),
        resources: (!logged.resources.is_empty()).then(|| logged.resources.clone()),
        err: logged.error.clone(),
        requestor: logged.requestor.as_ref().map(|who| requestor(&who.username, &who.protocol, &who.address)),
        created_at: logged.created_at.into(),
        ended_at: when(logged.ended_at),
    }
}

fn class(class: Class) -> OperationClass {
    match class {
        Class::Task => OperationClass::Task,
        Class::Websocket => OperationClass::Websocket,
        Class::Token => OperationClass::Token,
    }
}

fn requestor(username: &str, protocol: &str, address: &str) -> LifecycleRequestor {
    let address = if protocol == "unix" { "@" } else { address };
    LifecycleRequestor { username: username.to_owned(), protocol: protocol.to_owned(), address: address.to_owned() }
}

/// An operation's URL, with its project.
#[must_use]
pub fn operation_url(view: &OperationView) -> String {
    url(&format!("/1.0/operations/{}", view.id), &view.project)
}

/// An event, if a listener of `kinds` and `project` (`None` listens to all) is to have it.
#[must_use]
pub fn event(event: &coffer_engine::Event, kinds: &[EventKind], project: Option<&ProjectName>) -> Option<Event> {
    if let (Some(wanted), Some(is)) = (project, &event.project)
        && wanted != is
    {
        return None;
    }
    let kind = kind(&event.body);
    if !kinds.contains(&kind) {
        return None;
    }
    let metadata = match &event.body {
        EventBody::Operation(view) => serde_json::to_value(operation(view)),
        EventBody::Lifecycle(lifecycle) => serde_json::to_value(shown(lifecycle, event.project.as_ref())),
        EventBody::Logging(line) => {
            serde_json::to_value(Logging { message: line.message.clone(), level: line.level.to_owned(), context: line.context.clone() })
        }
    };
    Some(Event {
        kind: kind.as_str().to_owned(),
        timestamp: event.timestamp.into(),
        metadata: metadata.ok()?,
        location: NO_MEMBER.into(),
        project: event.project.as_ref().map(ToString::to_string).unwrap_or_default(),
        sequence: event.sequence,
    })
}

/// What a listener reads of events that it cannot be told any more.
#[must_use]
pub fn gap(since: u64, first: u64) -> Event {
    Event {
        kind: "gap".into(),
        timestamp: Time::now().into(),
        metadata: serde_json::to_value(EventGap { since, first }).unwrap_or_default(),
        location: NO_MEMBER.into(),
        ..Event::default()
    }
}

fn kind(body: &EventBody) -> EventKind {
    match body {
        EventBody::Operation(_) => EventKind::Operation,
        EventBody::Lifecycle(_) => EventKind::Lifecycle,
        EventBody::Logging(_) => EventKind::Logging,
    }
}

fn shown(lifecycle: &coffer_engine::Lifecycle, project: Option<&ProjectName>) -> Lifecycle {
    let requestor = lifecycle.requestor.as_ref().map(|caller| requestor(&caller.username, caller.protocol, &caller.address));
    let context = lifecycle.context.as_ref().and_then(|value| value.as_object());
    Lifecycle {
        action: lifecycle.action.to_owned(),
        source: project.map_or_else(|| lifecycle.source.clone(), |project| url(&lifecycle.source, project)),
        context: context.map(|map| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        requestor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_engine::Caller;

    fn started(project: Option<&str>) -> coffer_engine::Event {
        let caller = Caller { username: "root".into(), protocol: "unix", address: String::new() };
        coffer_engine::Event {
            sequence: 7,
            timestamp: Time::UNIX_EPOCH,
            project: project.map(|name| name.parse().unwrap()),
            body: EventBody::Lifecycle(coffer_engine::Lifecycle {
                action: "instance-started",
                source: "/1.0/instances/web".into(),
                context: None,
                requestor: Some(caller),
            }),
        }
    }

    #[track_caller]
    fn check(project: Option<&str>, kinds: &[EventKind], listener: Option<&str>, expect: Option<&str>) {
        let listener = listener.map(|name| name.parse().unwrap());
        let shown = event(&started(project), kinds, listener.as_ref());
        let text = shown.map(|event| serde_json::to_string(&event).unwrap());
        assert_eq!(text.as_deref(), expect);
    }

    #[test]
    fn listeners_get_what_is_theirs() {
        let all = [EventKind::Operation, EventKind::Lifecycle];
        let plain = r#"{"type":"lifecycle","timestamp":"1970-01-01T00:00:00Z","metadata":{"action":"instance-started","requestor":{"address":"@","protocol":"unix","username":"root"},"source":"/1.0/instances/web"},"location":"none","project":"default","sequence":7}"#;
        check(Some("default"), &all, Some("default"), Some(plain));
        check(Some("default"), &all, None, Some(plain));
        check(Some("default"), &all, Some("dev"), None);
        check(Some("default"), &[EventKind::Operation], Some("default"), None);
        let dev = r#"{"type":"lifecycle","timestamp":"1970-01-01T00:00:00Z","metadata":{"action":"instance-started","requestor":{"address":"@","protocol":"unix","username":"root"},"source":"/1.0/instances/web?project=dev"},"location":"none","project":"dev","sequence":7}"#;
        check(Some("dev"), &all, Some("dev"), Some(dev));
        assert!(event(&started(None), &all, Some(&"dev".parse().unwrap())).is_some());
    }
}
