//! The web page on the management port: files inside the binary, served as they are. It asks the API like any other
//! client; nothing here knows a queue.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// Only what the binary itself serves, so that nothing that got into a name of a queue can run or call home.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($(($path:literal, $kind:expr, $file:literal)),* $(,)?) => {
        [$(($path, $kind, include_str!(concat!("../web/", $file)))),*]
    };
}

const FILES: [(&str, &str, &str); 17] = files![
    ("/", HTML, "index.html"),
    // Where RabbitMQ 3.x has its script, which is not ours to hand out.
    ("/cli/", HTML, "cli.html"),
    ("/cli/rabbitmqadmin", "text/x-shellscript; charset=utf-8", "rabbitmqadmin.sh"),
    ("/web/icon.svg", "image/svg+xml", "icon.svg"),
    ("/web/style.css", "text/css; charset=utf-8", "style.css"),
    ("/web/api.js", SCRIPT, "api.js"),
    ("/web/app.js", SCRIPT, "app.js"),
    ("/web/chart.js", SCRIPT, "chart.js"),
    ("/web/clients.js", SCRIPT, "clients.js"),
    ("/web/dom.js", SCRIPT, "dom.js"),
    ("/web/exchanges.js", SCRIPT, "exchanges.js"),
    ("/web/node.js", SCRIPT, "node.js"),
    ("/web/overview.js", SCRIPT, "overview.js"),
    ("/web/people.js", SCRIPT, "people.js"),
    ("/web/queue.js", SCRIPT, "queue.js"),
    ("/web/queues.js", SCRIPT, "queues.js"),
    ("/web/rules.js", SCRIPT, "rules.js"),
];

pub(crate) fn router() -> Router {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || serve(kind, text)))
    })
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        // All of it is as large as one picture, and a newer binary brings a newer page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_no_other_host_and_has_no_markup_from_data() {
        for (path, _, text) in FILES {
            let text = text.replace("http://www.w3.org/2000/svg", "").replace("http://USER:", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
            for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", " style="] {
                assert!(!text.contains(unsafe_way), "{path} has {unsafe_way}");
            }
        }
    }

    #[test]
    fn every_file_that_is_imported_is_served() {
        let served = |name: &str| FILES.iter().any(|(path, _, _)| path.ends_with(name));
        for (path, _, text) in FILES {
            for part in text.split("from \"./").skip(1) {
                let name = part.split('"').next().unwrap_or_default();
                assert!(served(&format!("/web/{name}")), "{path} imports {name}");
            }
        }
    }
}
