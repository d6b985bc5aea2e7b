"""/v1/provider-keys, and the secret a key signs requests with."""

from marshmallow import Schema, fields

from llmapi.api.schemas.fields import many, string


class ProviderKeyRequest(Schema):
    key = string(
        "Your own key with the provider", 8, 512, required=True, load_only=True, example="sk-proj-of-your-own"
    )


class ProviderKey(Schema):
    provider = fields.String(required=True, metadata={"example": "openai"})
    ending = fields.String(required=True, metadata={"description": "Its last characters", "example": "xY9z"})
    created = fields.DateTime(required=True)


class ProviderKeyList(Schema):
    data = many(fields.Nested(ProviderKey), "By provider", 0, 1000, required=True)


class SigningSecret(Schema):
    key_id = fields.String(required=True)
    secret = fields.String(
        required=True, metadata={"description": "Signs requests of this key; told this once", "example": "las_…"}
    )
