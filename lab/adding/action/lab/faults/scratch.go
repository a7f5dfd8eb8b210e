// Package faults holds the faults of the example's action. Those of a real action are
// in lab/faults, beside their like.
package faults

import (
	"bytes"
	"context"

	"breakwater/internal/fault"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Scratches are the faults of a note at the target: they go by the store's own client
// library as root, and share nothing with the action.
func Scratches(e faults.Env, key string) fault.Set {
	s := e.Target.Storage
	c := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
	var marker, version string // what Inject made
	heal := func(ctx context.Context) error {
		for _, id := range []*string{&marker, &version} {
			if *id == "" {
				continue
			}
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: &key, VersionId: id}); err != nil {
				return err
			}
			*id = ""
		}
		return nil
	}
	return fault.Set{
		{
			Name: "scratch.note-gone", Doc: "somebody deletes the note", Heal: heal,
			Inject: func(ctx context.Context) error {
				out, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: &key})
				if err == nil {
					marker = aws.ToString(out.VersionId)
				}
				return err
			},
		},
		{
			Name: "scratch.note-changed", Doc: "somebody writes over the note", Heal: heal,
			Inject: func(ctx context.Context) error {
				out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: bytes.NewReader([]byte("another"))})
				if err == nil {
					version = aws.ToString(out.VersionId)
				}
				return err
			},
		},
	}
}
