//! What the query does to a list.

use super::*;

fn items() -> Vec<Value> {
    vec![
        json!({"name": "Orders", "messages": 10, "stats": {"rate": 2.5, "n": 1}}),
        json!({"name": "audit", "messages": 2, "stats": {"rate": 0.5, "n": 2}}),
        json!({"name": "reorder", "messages": 3}),
    ]
}

fn shaped(query: &[(&str, &str)]) -> Result<Value, ApiError> {
    let pairs: Vec<(String, String)> =
        query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ListQuery::new(&pairs)?.shape(items())
}

fn names(value: &Value) -> Vec<&str> {
    let items = value.as_array().or_else(|| value["items"].as_array()).unwrap();
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn without_a_query_the_list_is_bare() {
    assert_eq!(shaped(&[]).unwrap(), Value::Array(items()));
}

#[test]
fn a_page_tells_where_it_is() {
    let page = shaped(&[("page", "2"), ("page_size", "2"), ("pagination", "true")]).unwrap();
    assert_eq!(names(&page), ["reorder"]);
    for (key, n) in [
        ("total_count", 3),
        ("item_count", 1),
        ("filtered_count", 3),
        ("page", 2),
        ("page_size", 2),
        ("page_count", 2),
    ] {
        assert_eq!(page[key], n, "{key}");
    }
}

#[test]
fn names_are_filtered_by_part_or_pattern_in_any_case() {
    let filtered =
        |name, regex| shaped(&[("page", "1"), ("name", name), ("use_regex", regex)]).unwrap();
    assert_eq!(names(&filtered("ORDER", "false")), ["Orders", "reorder"]);
    assert_eq!(names(&filtered("^order", "true")), ["Orders"]);
    let none = filtered("nothing", "false");
    assert_eq!([&none["page_count"], &none["filtered_count"]], [0, 0]);
    assert!(shaped(&[("page", "1"), ("name", "("), ("use_regex", "true")]).is_err());
}

#[test]
fn pages_that_do_not_exist_are_refused() {
    let error = shaped(&[("page", "9")]).unwrap_err();
    let reason = "Page out of range, page: 9 page size: 100, len: 3";
    assert_eq!(error, ApiError::bad("page_out_of_range", reason));
    for query in [
        [("page", "0"), ("x", "")],
        [("page", "x"), ("x", "")],
        [("page", "1"), ("page_size", "501")],
    ] {
        assert!(shaped(&query).is_err(), "{query:?}");
    }
}

#[test]
fn lists_are_sorted_by_dotted_columns() {
    let sorted = |column, reverse| shaped(&[("sort", column), ("sort_reverse", reverse)]).unwrap();
    assert_eq!(names(&sorted("messages", "false")), ["audit", "reorder", "Orders"]);
    assert_eq!(names(&sorted("stats.rate", "true")), ["Orders", "audit", "reorder"]);
}

#[test]
fn columns_keep_their_nesting() {
    let reduced = shaped(&[("columns", "name,stats.n,absent.x")]).unwrap();
    assert_eq!(reduced[1], json!({"name": "audit", "stats": {"n": 2}}));
    assert_eq!(reduced[2], json!({"name": "reorder"}));
}
