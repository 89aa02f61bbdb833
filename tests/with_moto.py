"""moto, an independent S3 store, on loopback with one bucket and two users whose keys are checked.

Prints a line of JSON with the address and the keys; ends with standard input.
"""
import json
import os
import sys

# The calls of set_up(); behind them every request has to be signed and allowed.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "7"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
from moto.server import ThreadedMotoServer

BUCKET, REGION = "azaion", "us-east-1"

# What each user may do.
USERS = {"uploader": "s3:*", "downloader": "s3:GetObject"}


def set_up(url):
    keys = {"endpoint_url": url, "region_name": REGION, "aws_access_key_id": "none", "aws_secret_access_key": "none"}
    boto3.client("s3", **keys).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **keys)
    cdn = {"host": url, "bucket": BUCKET, "region": REGION, "path_style": True}
    for user, action in USERS.items():
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        cdn.update({f"{user}_access_key": key["AccessKeyId"], f"{user}_access_secret": key["SecretAccessKey"]})
    return cdn


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(json.dumps(set_up(f"http://{host}:{port}")), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
