# What botocore, the AWS SDK for Python, would have put into Authorization: one JSON object a line in, one signature a line
# out. {"method", "url", "headers": [[name, value]...], "body": base64, "region", "service", "key", "secret", "s3": bool}
import base64
import json
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for line in sys.stdin:
    asked = json.loads(line)
    auth = (S3SigV4Auth if asked["s3"] else SigV4Auth)(Credentials(asked["key"], asked["secret"]), asked["service"], asked["region"])
    request = AWSRequest(asked["method"], asked["url"], data=base64.b64decode(asked["body"]))
    for name, value in asked["headers"]:
        request.headers.add_header(name, value)
    request.context["timestamp"] = dict((name.lower(), value) for name, value in asked["headers"])["x-amz-date"]
    text = auth.string_to_sign(request, auth.canonical_request(request))
    print(auth.signature(text, request), flush=True)
