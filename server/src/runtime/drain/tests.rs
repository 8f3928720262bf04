//! Stages, timers, and requests to end one connection, in paused time.

use std::{future::poll_fn, pin::pin, task::Poll};

use echogate_proto::close::CloseCode;
use futures_util::FutureExt as _;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::*;

/// The seconds after which a task is woken that sets its timer to each of `asked` in turn.
async fn woken_after(drain: &Drain, asked: &'static [u64]) -> u64 {
    let mut watch = drain.watch();
    let start = Instant::now();
    let task = tokio::spawn(async move {
        let mut first = true;
        poll_fn(|cx| {
            if !std::mem::take(&mut first) {
                return Poll::Ready(());
            }
            for &after in asked {
                watch.wake_at(cx, start, start + Duration::from_secs(after));
            }
            Poll::Pending
        })
        .await;
    });
    task.await.unwrap();
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn timers_expire_at_their_time() {
    let drain = Drain::new();
    let all = tokio::join!(
        woken_after(&drain, &[30]),
        woken_after(&drain, &[10]),
        woken_after(&drain, &[20, 25]),
        woken_after(&drain, &[20, 5]),
    );
    assert_eq!(all, (30, 10, 20, 5));
    let tables = drain.0.tables.lock();
    assert!(tables.timers.is_empty() && tables.watchers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stage_wakes_all_tasks() {
    let drain = Drain::new();
    let tasks = [1, 2].map(|_| {
        let mut watch = drain.watch();
        tokio::spawn(poll_fn(move |cx| match watch.poll(cx) {
            Stage::Serving => Poll::Pending,
            stage => Poll::Ready(stage),
        }))
    });
    tokio::task::yield_now().await;
    drain.advance(Stage::Graceful);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Stage::Graceful);
    }
    drain.advance(Stage::Serving);
    assert_eq!(drain.watch().stage(), Stage::Graceful, "stages never go back");
}

/// Tasks of connections with the identifiers from 1 to `count`, each of which has begun to watch. A task
/// ends at another stage than serving, and returns that with the milliseconds since the start.
async fn watchers(drain: &Drain, count: u64) -> Vec<JoinHandle<(Stage, u128)>> {
    let start = Instant::now();
    let mut tasks = vec![];
    for id in 1..=count {
        let mut watch = drain.watch_connection(id);
        let (begun, has_begun) = oneshot::channel();
        let mut begun = Some(begun);
        tasks.push(tokio::spawn(poll_fn(move |cx| {
            let stage = watch.poll(cx);
            if let Some(begun) = begun.take() {
                begun.send(()).unwrap();
            }
            match stage {
                Stage::Serving => Poll::Pending,
                stage => Poll::Ready((stage, start.elapsed().as_millis())),
            }
        })));
        has_begun.await.unwrap();
    }
    tasks
}

#[tokio::test(start_paused = true)]
async fn an_even_advance_takes_the_same_time_for_each_part_of_the_connections() {
    let drain = Drain::new();
    let tasks = watchers(&drain, 1000).await;
    drain.advance_evenly(Stage::Graceful, Instant::now() + Duration::from_secs(2)).await;
    let mut in_interval = [0; 21];
    for task in tasks {
        let (stage, millis) = task.await.unwrap();
        assert_eq!(stage, Stage::Graceful);
        in_interval[millis as usize / 100] += 1;
    }
    assert!(in_interval[..20].iter().all(|count| (45..=55).contains(count)), "{in_interval:?}");
}

#[tokio::test(start_paused = true)]
async fn an_even_advance_takes_no_connection_back() {
    let drain = Drain::new();
    drain.advance(Stage::Immediate);
    let hour = Instant::now() + Duration::from_secs(3600);
    let advancing = drain.advance_evenly(Stage::Graceful, hour);
    timeout(Duration::from_secs(1), advancing).await.unwrap();
    assert_eq!(drain.watch().stage(), Stage::Immediate);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_during_an_even_advance_follows_at_its_end() {
    let drain = Drain::new();
    let before = watchers(&drain, 10).await;
    let advancing = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.advance_evenly(Stage::Graceful, Instant::now() + Duration::from_secs(1)).await;
        }
    });
    sleep(Duration::from_millis(100)).await;
    let late = watchers(&drain, 1).await.pop().unwrap();
    advancing.await.unwrap();
    assert_eq!(late.await.unwrap().0, Stage::Graceful);
    for task in before {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_reaches_one_connection() {
    let drain = Drain::new();
    let mut tasks = watchers(&drain, 3).await;
    let close = ServerClose { code: CloseCode(4000), reason: "enough".into() };
    let request = |stage| EndRequest { stage, close: close.clone() };
    assert!(!drain.request_end(4, request(Stage::Cut)), "there is no fourth one");
    assert!(drain.request_end(2, request(Stage::Immediate)));
    assert_eq!(tasks.remove(1).await.unwrap().0, Stage::Immediate);
    assert!(!drain.request_end(2, request(Stage::Cut)), "it has ended");
    assert_eq!(drain.0.stage.load(Ordering::Relaxed), 0, "there is no request any more");
    assert!(tasks.iter().all(|task| !task.is_finished()));
    let mut watch = drain.watch_connection(7);
    poll_fn(|cx| Poll::Ready(watch.poll(cx))).await;
    assert_eq!(watch.close(), ServerClose::SHUTDOWN);
    drain.request_end(7, request(Stage::Cut));
    drain.request_end(7, request(Stage::Immediate));
    assert_eq!((watch.stage(), watch.close()), (Stage::Cut, close));
    drain.advance(Stage::Graceful);
    for task in tasks {
        assert_eq!(task.await.unwrap().0, Stage::Graceful);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_connection_whose_task_has_not_run_yet() {
    let [drain, other] = [Drain::new(), Drain::new()];
    let request = EndRequest { stage: Stage::Cut, close: ServerClose::SHUTDOWN };
    let mut watch = drain.watch_connection(7);
    let mut asked = pin!(request_end_of([&other, &drain], 7, &request, || true));
    assert_eq!((&mut asked).now_or_never(), None);
    assert_eq!(poll_fn(|cx| Poll::Ready(watch.poll(cx))).await, Stage::Serving);
    assert!(timeout(Duration::from_secs(1), asked).await.unwrap());
    assert_eq!(watch.stage(), Stage::Cut);
    assert!(!request_end_of([&other, &drain], 8, &request, || false).await, "it has ended");
}
