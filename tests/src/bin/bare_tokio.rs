//! A program that has a tokio runtime and does nothing with it: what an idle client's memory is measured against.

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Whoever started it ends it; else it ends by itself.
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
}
