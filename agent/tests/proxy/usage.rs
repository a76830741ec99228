//! What is counted of models' answers.

use crate::setting::{Client, Endpoint, Setting, one_endpoint};
use proto::fleet::Leg;

const WHOLE: &str = r#"{"model":"tide-1b","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}"#;

/// A proxy with a model server, which nobody needs to have picked.
async fn metered() -> (Setting, Client, Endpoint) {
    one_endpoint(Leg {
        metered: true,
        ..Leg::default()
    })
    .await
}

fn tokens(kind: &str) -> String {
    let labels = format!("gen_ai_response_model=\"tide-1b\",gen_ai_token_type=\"{kind}\"");
    format!("gen_ai_client_token_usage_sum{{{labels}}}")
}

fn count(metric: &str) -> String {
    format!("gen_ai_server_{metric}_seconds_count{{gen_ai_response_model=\"tide-1b\"}}")
}

#[tokio::test]
async fn a_whole_answer_says_its_tokens() {
    let (setting, mut client, endpoint) = metered().await;
    client.post("{}").await;
    let (mut connection, _) = endpoint.request().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8";
    let length = WHOLE.len();
    connection
        .send(format!("{head}\r\ncontent-length: {length}\r\n\r\n{WHOLE}"))
        .await;
    assert_eq!(client.response().await.1, WHOLE.as_bytes());
    setting.until(&tokens("input"), 3.0).await;
    setting.until(&tokens("output"), 7.0).await;
    setting.until(&count("time_to_first_token"), 0.0).await;
}

#[tokio::test]
async fn a_stream_says_its_tokens_and_takes_its_time() {
    let (setting, mut client, endpoint) = metered().await;
    client.post("{}").await;
    let (mut connection, _) = endpoint.request().await;
    connection
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    for event in [
        ": nothing yet\n\n",
        "data: {\"model\":\"tide-1b\",\"choices\":[{\"delta\":{\"content\":\"The\"}}]}\n\n",
        "data: {\"model\":\"tide-1b\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7}}\n\n",
        "data: [DONE]\n\n",
    ] {
        connection.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        assert_eq!(client.chunk().await, event.as_bytes());
        if event.starts_with("data: {") {
            // Said while the stream lasts.
            setting.until(&count("time_to_first_token"), 1.0).await;
        }
    }
    connection.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
    setting.until(&tokens("input"), 3.0).await;
    setting.until(&tokens("output"), 7.0).await;
    setting.until(&count("time_per_output_token"), 1.0).await;
}

#[tokio::test]
async fn other_answers_are_not_looked_at() {
    for (metered, head) in [
        (false, "HTTP/1.1 200 OK\r\ncontent-type: application/json"),
        (true, "HTTP/1.1 500 Oh\r\ncontent-type: application/json"),
        (true, "HTTP/1.1 200 OK\r\ncontent-type: text/plain"),
        (
            true,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip",
        ),
    ] {
        let leg = Leg {
            metered,
            ..Leg::default()
        };
        let (setting, mut client, endpoint) = one_endpoint(leg).await;
        client.post("{}").await;
        let (mut connection, _) = endpoint.request().await;
        let length = WHOLE.len();
        connection
            .send(format!("{head}\r\ncontent-length: {length}\r\n\r\n{WHOLE}"))
            .await;
        assert_eq!(client.response().await.1, WHOLE.as_bytes());
        setting.until("flotilla_proxy_requests_in_flight", 0.0).await;
        let counted = setting.metrics().await;
        assert!(!counted.contains("tide-1b"), "{head}: {counted}");
    }
}
