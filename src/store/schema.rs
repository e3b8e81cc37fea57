//! The tables, in diesel's notation. A test compares them with what the migrations make.

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
        records -> Nullable<BigInt>,
    }
}

diesel::table! {
    spend (kind, entity) {
        kind -> Text,
        entity -> Text,
        spend_nano_usd -> BigInt,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        requests -> BigInt,
    }
}

diesel::table! {
    spend_periods (kind, entity, period_start) {
        kind -> Text,
        entity -> Text,
        period_start -> BigInt,
        spend_nano_usd -> BigInt,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        requests -> BigInt,
    }
}

diesel::table! {
    daily_spend (kind, entity, date, api_key, model, endpoint) {
        kind -> Text,
        entity -> Text,
        date -> Text,
        api_key -> Text,
        model -> Text,
        endpoint -> Text,
        spend_nano_usd -> BigInt,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        requests -> BigInt,
        failed_requests -> BigInt,
    }
}

diesel::table! {
    flush_leader (singleton) {
        singleton -> BigInt,
        epoch -> BigInt,
        leader -> Text,
    }
}

diesel::table! {
    spend_producers (producer) {
        producer -> Text,
        high_water -> BigInt,
        last_seen -> BigInt,
        records -> Nullable<BigInt>,
        records_through -> Nullable<BigInt>,
    }
}

diesel::table! {
    endpoint_drains (name, model) {
        name -> Text,
        model -> Text,
        lasting -> BigInt,
        since -> BigInt,
    }
}

diesel::table! {
    endpoints (name) {
        name -> Text,
        url -> Text,
        address -> Text,
        kind -> Text,
        api_key -> Text,
        settings -> Text,
        draining -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        version -> BigInt,
    }
}

diesel::table! {
    dead_letters (id) {
        id -> Text,
        producer -> Text,
        seq -> BigInt,
        reason -> Text,
        payload -> Text,
        created_at -> BigInt,
        replayed_at -> Nullable<BigInt>,
    }
}
