//! What belongs to an account at ollama.com, which a simulated server has not.

use http::{Method, Response, StatusCode};
use serde::Serialize;

use crate::answer::Family;
use crate::wire::Body;

use super::problem::Problem;
use super::reply::json;

/// Answers a path of the account or of the cloud, if it is one.
pub fn answer(method: &Method, path: &str) -> Option<Response<Body>> {
    let problem = match (method.as_str(), path) {
        ("POST", "/api/me") => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "account unavailable"),
        ("POST", "/api/signout") => signing_out(),
        ("DELETE", _) if path.starts_with("/api/user/keys/") => signing_out(),
        ("POST", "/api/experimental/web_search") => disabled("web search is unavailable"),
        ("POST", "/api/experimental/web_fetch") => disabled("web fetch is unavailable"),
        ("GET", "/api/experimental/model-recommendations") => return Some(recommendations()),
        _ => return None,
    };
    Some(problem.respond(Family::Ollama))
}

fn signing_out() -> Problem {
    Problem::internal("there was an error signing out")
}

fn disabled(what: &str) -> Problem {
    let text = format!("ollama cloud is disabled: {what}");
    Problem::new(StatusCode::FORBIDDEN, text)
}

fn recommendations() -> Response<Body> {
    json(&Recommendations {
        recommendations: [Recommendation {
            model: "gpt-oss:20b-cloud",
            description: "simulated",
            context_length: 131_072,
            max_output_tokens: 131_072,
        }],
    })
}

#[derive(Serialize)]
struct Recommendations {
    recommendations: [Recommendation; 1],
}

#[derive(Serialize)]
struct Recommendation {
    model: &'static str,
    description: &'static str,
    context_length: u64,
    max_output_tokens: u64,
}
