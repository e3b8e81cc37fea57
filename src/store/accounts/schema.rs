//! The tables of accounts, in diesel's notation.

diesel::table! {
    accounts (kind, id) {
        kind -> Text,
        id -> Text,
        name -> Text,
        user_id -> Text,
        team_id -> Text,
        org_id -> Text,
        budget_id -> Text,
        limit_nano_usd -> Nullable<BigInt>,
        period -> Text,
        rules -> Text,
        metadata -> Text,
        blocked -> BigInt,
        expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    prices (model) {
        model -> Text,
        input_nano_usd -> BigInt,
        cached_input_nano_usd -> BigInt,
        output_nano_usd -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    access_version (singleton) {
        singleton -> BigInt,
        version -> BigInt,
    }
}
