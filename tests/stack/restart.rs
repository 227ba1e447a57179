//! Stored data is unchanged after a clean restart.

use integration_tests::{Stack, TraceBuilder, attribute, get_json};

#[tokio::test]
async fn answers_are_the_same_after_a_restart() {
    let stack = Stack::start().await;
    for number in 0..30 {
        let mut trace = TraceBuilder::new(if number % 2 == 0 { "cart" } else { "payment" });
        let root = trace.span(
            None,
            "GET /cart",
            vec![attribute("customer", &format!("c{number}"))],
        );
        trace.span(Some(root), "SELECT cart", Vec::new());
        if number % 5 == 0 {
            trace.fail("card refused");
        }
        trace.send(&stack.otlp_http).await;
    }
    let queries = [
        "/api/traces?limit=100",
        "/api/traces?service=cart&limit=100",
        "/api/traces?error=true&limit=100",
        "/api/traces?attribute=customer%3Dc7",
        "/api/services/cart/operations",
    ];
    let before = ask(&stack.web, &queries).await;
    let stack = Stack::start_in(stack.stop().await).await;
    let after = ask(&stack.web, &queries).await;
    assert_eq!(before, after);
    assert_eq!(before[0]["traces"].as_array().map(Vec::len), Some(30));
    assert_eq!(before[1]["traces"].as_array().map(Vec::len), Some(15));
    assert_eq!(before[2]["traces"].as_array().map(Vec::len), Some(6));
    assert_eq!(before[3]["traces"].as_array().map(Vec::len), Some(1));
}

async fn ask(web: &str, queries: &[&str]) -> Vec<serde_json::Value> {
    let mut answers = Vec::new();
    for query in queries {
        let answer = get_json(&format!("{web}{query}")).await;
        let mut answer = answer.unwrap_or_else(|| panic!("{query} is answered"));
        // The searched range ends at the time of the request.
        for moment in ["start", "end"] {
            answer.as_object_mut().map(|answer| answer.remove(moment));
        }
        answers.push(answer);
    }
    answers
}
