//! The tables, in diesel's words. A test compares them with what the migrations make.

diesel::table! {
    token_counts (endpoint, model) {
        endpoint -> Text,
        model -> Text,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        total_tokens -> BigInt,
    }
}

diesel::table! {
    token_time_series (endpoint, model, timestamp) {
        endpoint -> Text,
        model -> Text,
        timestamp -> BigInt,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        total_tokens -> BigInt,
    }
}

diesel::table! {
    spend_batches (producer, seq) {
        producer -> Text,
        seq -> BigInt,
        applied_at -> BigInt,
    }
}
