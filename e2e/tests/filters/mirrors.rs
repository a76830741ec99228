//! Copies of requests.

use anyhow::{Context, Result, ensure};
use e2e::{client::Request, standalone::eventually};

use super::serving_with;

#[tokio::test]
async fn mirror_gets_a_copy_and_its_answer_is_ignored() -> Result<()> {
    let filter =
        "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: copy, port: 80 } } }]";
    let (standalone, _backend, edge) = serving_with(filter).await?;
    let copy = standalone.backend("copy", 101).await?;
    eventually(async || {
        edge.get("a.example", "/probe").await?.seen()?;
        ensure!(copy.count("/probe") > 0, "the mirror is not known yet");
        Ok(())
    })
    .await?;
    let answer = edge
        .send(Request::get("/copied?a=b").host("a.example").body("body"))
        .await?;
    assert_eq!(answer.seen()?.backend, "shop");
    let mirrored = eventually(async || {
        let seen = copy.seen().into_iter().find(|seen| seen.path == "/copied?a=b");
        seen.context("no copy yet")
    })
    .await?;
    assert_eq!((mirrored.body, mirrored.host.as_str()), (4, "a.example"));
    Ok(())
}

#[tokio::test]
async fn each_mirror_gets_its_part_of_the_requests() -> Result<()> {
    let mirror = |fields: &str| format!("{{ type: RequestMirror, requestMirror: {{ {fields} }} }}");
    let mirrors = [
        mirror("backendRef: { name: all, port: 80 }"),
        mirror("backendRef: { name: fifth, port: 80 }, percent: 20"),
        mirror("backendRef: { name: half, port: 80 }, fraction: { numerator: 1, denominator: 2 }"),
        mirror("backendRef: { name: none, port: 80 }, percent: 0"),
    ];
    let (standalone, _backend, edge) = serving_with(&format!("filters: [{}]", mirrors.join(", "))).await?;
    let all = standalone.backend("all", 101).await?;
    let fifth = standalone.backend("fifth", 102).await?;
    let half = standalone.backend("half", 103).await?;
    let none = standalone.backend("none", 104).await?;
    eventually(async || {
        edge.get("a.example", "/probe").await?.seen()?;
        let known = [&all, &fifth, &half]
            .iter()
            .all(|mirror| mirror.count("/probe") > 0);
        ensure!(known, "not every mirror is known yet");
        Ok(())
    })
    .await?;
    let mut connection = edge.connect().await?;
    for _ in 0..1000 {
        connection
            .send(Request::get("/counted").host("a.example"))
            .await?
            .seen()?;
    }
    // NGINX takes the next request of a connection when the copies of the last one are done.
    connection
        .send(Request::get("/last").host("a.example"))
        .await?
        .seen()?;
    assert_eq!(all.count("/counted"), 1000);
    // Counts beyond these bounds, 4.2 standard deviations away, happen once in 40,000 runs.
    let (fifth, half) = (fifth.count("/counted"), half.count("/counted"));
    assert!((147..=253).contains(&fifth), "{fifth} of 1,000 are a fifth");
    assert!((434..=566).contains(&half), "{half} of 1,000 are a half");
    assert_eq!(none.seen(), []);
    Ok(())
}
