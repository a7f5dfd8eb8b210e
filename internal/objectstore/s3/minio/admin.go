// Package minio does what MinIO keeps outside S3: users and their policies, the
// state of replication, and the fence that stops a user from writing. An [Admin] is
// all that [objectstore.Admin] can be.
//
// Its errors carry the sentinels of package objectstore. Every call is bounded by
// the configuration's time-outs, so that a dead server is unreachable within
// seconds.
package minio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/madmin-go/v3"
	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/reach"
)

// Admin is the administrator of one MinIO server. It is safe for concurrent use.
type Admin struct {
	mc      *madmin.AdminClient
	own     *miniogo.Client
	store   *s3.Client
	timeout time.Duration
}

var (
	_ objectstore.Admin      = (*Admin)(nil)
	_ objectstore.Fencer     = (*Admin)(nil)
	_ objectstore.Granter    = (*Admin)(nil)
	_ objectstore.Overseer   = (*Admin)(nil)
	_ objectstore.Replicator = (*Admin)(nil)
	_ objectstore.Counter    = (*Admin)(nil)
)

// New returns an administrator with the given credentials, root's or those of a
// user with the admin actions that are used. It asks nothing of the server.
func New(cfg s3.Config) (*Admin, error) {
	cfg.PathStyle = true
	store, err := s3.New(cfg)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(store.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("minio endpoint %q: %w", cfg.Endpoint, err)
	}
	mc, err := madmin.NewWithOptions(u.Host, &madmin.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure: u.Scheme == "https",
	})
	if err != nil {
		return nil, fmt.Errorf("minio at %s: %w", cfg.Endpoint, err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = time.Second
	}
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = 3 * time.Second
	}
	mc.SetCustomTransport(s3.Transport(cfg.ConnectTimeout, cfg.AnswerTimeout))
	o, err := own(cfg)
	if err != nil {
		return nil, err
	}
	return &Admin{mc: mc, own: o, store: store, timeout: cfg.ConnectTimeout + cfg.AnswerTimeout}, nil
}

// Store is that of [objectstore.Admin].
func (a *Admin) Store() objectstore.Store { return a.store }

// Endpoint is that of [objectstore.Admin].
func (a *Admin) Endpoint() string { return a.store.Endpoint() }

// do runs one call within the time-out, since the client library would try a
// silent server ten times, and turns its error into one of ours.
func (a *Admin) do(ctx context.Context, doing string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := call(ctx)
	if err == nil {
		return nil
	}
	switch codeOf(err) {
	case "":
		err = reach.Mark(err)
	case "XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy", "XMinioAdminNoSuchAccessKey", "NoSuchBucket":
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case "AccessDenied":
		err = fmt.Errorf("%w: access key %s lacks the admin action: %w", fs.ErrPermission, a.store.AccessKey(), err)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "XMinioAdminInvalidAccessKey":
		err = fmt.Errorf("%w: access key %s: %w", fs.ErrPermission, a.store.AccessKey(), err)
	}
	return fmt.Errorf("%s at %s: %w", doing, a.store.Endpoint(), err)
}

// Loaded waits, within the time-out, until a server that was just started has read
// its users and policies. It serves before that, and what it has read then takes the
// place of all that it knows: a policy or user written meanwhile is stored, and
// unknown until the server reads everything again, minutes later. The list of groups
// is one of the answers that it holds back until then.
func (a *Admin) Loaded(ctx context.Context) error {
	return a.do(ctx, "wait for users and policies to be read", func(ctx context.Context) error {
		_, err := a.mc.ListGroups(ctx)
		return err
	})
}

func codeOf(err error) string {
	var r madmin.ErrorResponse
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// User is that of [objectstore.Granter]. Root and service accounts are none:
// [fs.ErrNotExist].
func (a *Admin) User(ctx context.Context, name string) (objectstore.User, error) {
	var info madmin.UserInfo
	err := a.do(ctx, "read user "+name, func(ctx context.Context) error {
		var err error
		info, err = a.mc.GetUserInfo(ctx, name)
		if c := codeOf(err); c == "XMinioIAMActionNotAllowed" || c == "XMinioAdminNoSuchUser" {
			return fmt.Errorf("%w: not a user of its own; root cannot be denied anything, and a service account is governed by its parent user: %w", fs.ErrNotExist, err)
		}
		return err
	})
	if err != nil {
		return objectstore.User{}, err
	}
	u := objectstore.User{Name: name, Enabled: info.Status == madmin.AccountEnabled, Groups: slices.Sorted(slices.Values(info.MemberOf))}
	for p := range strings.SplitSeq(info.PolicyName, ",") {
		if p = strings.TrimSpace(p); p != "" {
			u.Policies = append(u.Policies, p)
		}
	}
	slices.Sort(u.Policies)
	return u, nil
}

// Policy is that of [objectstore.Granter].
func (a *Admin) Policy(ctx context.Context, name string) ([]byte, error) {
	var info *madmin.PolicyInfo
	err := a.do(ctx, "read policy "+name, func(ctx context.Context) error {
		var err error
		info, err = a.mc.InfoCannedPolicyV2(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info.Policy, nil
}

// SetPolicy is that of [objectstore.Granter].
func (a *Admin) SetPolicy(ctx context.Context, name string, doc []byte) error {
	return a.do(ctx, "write policy "+name, func(ctx context.Context) error { return a.mc.AddCannedPolicy(ctx, name, doc) })
}

// RemovePolicy is that of [objectstore.Granter].
func (a *Admin) RemovePolicy(ctx context.Context, name string) error {
	err := a.do(ctx, "remove policy "+name, func(ctx context.Context) error { return a.mc.RemoveCannedPolicy(ctx, name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Attach is that of [objectstore.Granter].
func (a *Admin) Attach(ctx context.Context, user, policy string) error {
	return a.do(ctx, "attach policy "+policy+" to user "+user, func(ctx context.Context) error {
		_, err := a.mc.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: user})
		return unlessApplied(err)
	})
}

// Detach is that of [objectstore.Granter].
func (a *Admin) Detach(ctx context.Context, user, policy string) error {
	return a.do(ctx, "detach policy "+policy+" from user "+user, func(ctx context.Context) error {
		_, err := a.mc.DetachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: user})
		return unlessApplied(err)
	})
}

func unlessApplied(err error) error {
	if codeOf(err) == "XMinioAdminPolicyChangeAlreadyApplied" {
		return nil
	}
	return err
}
