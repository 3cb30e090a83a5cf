//! Where sandboxes dial the leader: that comes back when somebody takes it away.

use serde_json::json;
use tests::live::{Live, must, text, until};

use crate::ABRUPT;

const SLICE: &str =
    "/apis/discovery.k8s.io/v1/namespaces/cloister-system/endpointslices/cloister-dispatch";

async fn address(live: &Live) -> Result<String, String> {
    let slice = live.get(SLICE).await;
    let slice = slice.map_err(|refusal| refusal.to_string())?;
    match text(&slice, "/endpoints/0/addresses/0") {
        none if none.is_empty() => Err(slice.to_string()),
        address => Ok(address),
    }
}

#[tokio::test]
async fn the_way_to_the_leader_is_put_back_and_sandboxes_dial_it() {
    Live::run(async |live| {
        let tenant = live.proven("dialling", &json!({})).await;
        let before = must(address(live).await, "the slice");
        live.delete(SLICE).await;
        let (back, took) = until("it is back", ABRUPT, async || address(live).await).await;
        println!("    deleted -> back: {:.2} s", took.as_secs_f64());
        assert_eq!(back, before);
        live.change(SLICE, &json!({"endpoints": []})).await;
        let (back, took) = until("it is whole", ABRUPT, async || address(live).await).await;
        println!("    emptied -> whole: {:.2} s", took.as_secs_f64());
        assert_eq!(back, before);
        live.integrate(&tenant, "cold", &["early"], &json!({}))
            .await;
        let (object, ended) = live.run_once(&tenant, "cold", ABRUPT * 3).await;
        assert_eq!(ended.reason, "Completed", "{object}");
    })
    .await;
}
