// Package faults breaks single things in real servers, and mends them again, so
// that an action's Verify can be seen red.
//
// A fault works with the servers' own client libraries and their root
// credentials. It shares no code with the product: what an action does wrong, a
// fault must not do wrong in the same way.
package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/vault/api"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
)

// Env is the place in which faults are injected: two regions, and the names of
// what there is to break. What an environment does not have stays empty, and the
// faults that need it say that they cannot be injected.
type Env struct {
	Source, Target Region
	Group          Group  // whose things are broken
	Other          Group  // another group, of other people
	Writer         User   // one of the source's storage writers
	Replicator     User   // writes replicas at the target
	Lineage        string // prefix of the OpenLineage events in the target's bucket, without a slash at its end
}

// Region is the servers of one region with their root credentials.
type Region struct {
	Name    string
	Storage Storage
	Vault   Vault
	Brokers []string // of Kafka; host:port

	// Stop and Start end and bring back one system of the region: SIGKILL, and the
	// same port and data again. Nil where the environment cannot.
	Stop, Start func(context.Context, System) error
}

// System is one server of a region.
type System string

// The systems. All stands for every one of the region.
const (
	All           System = "all"
	StorageSystem System = "storage"
	VaultSystem   System = "vault"
	KafkaSystem   System = "kafka"
)

// Storage is a MinIO server.
type Storage struct {
	Endpoint             string // URL
	Region               string // that signatures name; us-east-1 when empty
	AccessKey, SecretKey string // root's
	Bucket               string // the real bucket that faults break
	Recovery             User   // recovery's own user
}

// Vault is a Vault or OpenBao server.
type Vault struct {
	Address, Token string // root's
	Mount          string // KV version 2
	Sentinel       string // path of the sentinel secret
	Policy         string // the policy of recovery's own token
}

// Group is a consistency group's names at the target.
type Group struct {
	Prefix         string // of one of its tables, in the target's bucket
	Reader, Writer string // users of MinIO
	WriterSecret   string // that the estate has for Writer
	Secret         string // path of the routing secret
	Topic          string // of Kafka
	ConsumerGroup  string // that reads Topic
}

// User is a user of MinIO and the secret that the estate has for it.
type User struct{ Name, Secret string }

// s3 is a raw client as root.
func (s Storage) s3() *s3.Client {
	region := s.Region
	if region == "" {
		region = "us-east-1"
	}
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:  &http.Client{Timeout: 10 * time.Second},
	})
}

// admin is a raw administrator's client as root.
func (s Storage) admin() (*madmin.AdminClient, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	return madmin.NewWithOptions(u.Host, &madmin.Options{Creds: miniocreds.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: u.Scheme == "https"})
}

// client is a raw client with the root token.
func (v Vault) client() (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: v.Address, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	c.SetToken(v.Token)
	return c, nil
}

// needs makes a fault's Available: every named value must be there.
func needs(values map[string]string) func() error {
	return func() error {
		for what, v := range values {
			if v == "" {
				return fmt.Errorf("this environment does not say its %s", what)
			}
		}
		return nil
	}
}

// kept is what Inject found and Heal puts back. Heal without an Inject, or a
// second one, finds nothing to do.
type kept[T any] struct {
	mu  sync.Mutex
	set bool
	v   T
}

// put keeps v; a second Inject without a Heal between would lose what was there.
func (k *kept[T]) put(v T) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set {
		return errors.New("the fault is in force already: heal it first")
	}
	k.v, k.set = v, true
	return nil
}

// heal calls mend with what was kept, and forgets it once that worked.
func (k *kept[T]) heal(mend func(T) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.set {
		return nil
	}
	if err := mend(k.v); err != nil {
		return err
	}
	k.set = false
	return nil
}
