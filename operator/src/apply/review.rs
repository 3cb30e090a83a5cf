//! Questions that Kubernetes wants asked by a create. Nothing is kept of them.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};

use super::failed;
use crate::error::Error;

/// Whose `token` this is, if it is good for `audience`.
///
/// # Errors
/// [`Error::Write`] if the server does not answer the question. It never holds the token.
pub async fn review_token(
    client: &Client,
    token: &str,
    audience: &str,
) -> Result<TokenReviewStatus, Error> {
    let question = TokenReview {
        spec: TokenReviewSpec {
            audiences: Some(vec![audience.to_owned()]),
            token: Some(token.to_owned()),
        },
        ..TokenReview::default()
    };
    let reviews = Api::<TokenReview>::all(client.clone());
    match reviews.create(&PostParams::default(), &question).await {
        Ok(answer) => Ok(answer.status.unwrap_or_default()),
        Err(source) => Err(failed::<TokenReview>("create", "of a sandbox", source)),
    }
}
