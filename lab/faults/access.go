package faults

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"breakwater/internal/fault"

	"github.com/minio/madmin-go/v3"
)

// Accesses are the faults of who may read and write a group's tables at the
// target.
func Accesses(e Env) fault.Set {
	s := e.Target.Storage
	below := func(actions ...string) map[string]any {
		return map[string]any{
			"Effect": "Allow", "Action": actions,
			"Resource": []string{"arn:aws:s3:::" + s.Bucket + "/" + e.Group.Prefix + "/*"},
		}
	}
	write, read := below("s3:PutObject"), below("s3:GetObject")
	return fault.Set{
		detached("access.reader-detached", "a reader of the group loses its policies", s, e.Group.Reader, anyPolicy),
		detached("access.writer-detached", "a writer of the group loses its policies", s, e.Group.Writer, anyPolicy),
		allowed("access.writer-may-write", "a writer of the group gets the right to write by another policy", s, e.Group.Writer, write),
		allowed("access.reader-may-write", "a reader of the group gets the right to write", s, e.Group.Reader, write),
		allowed("access.other-reader-may-read", "another group's reader gets the right to read", s, e.Other.Reader, read),
		allowed("access.other-writer-may-write", "another group's writer gets the right to write", s, e.Other.Writer, write),
		disabled("access.reader-disabled", "a reader of the group is disabled", s, e.Group.Reader),
		rekeyed("access.writer-key-changed", "the secret key of a writer of the group is another", s, User{e.Group.Writer, e.Group.WriterSecret}),
	}
}

// allowed gives a user a policy of the fault's own.
func allowed(name fault.Name, doc string, s Storage, user string, statement map[string]any) fault.Fault {
	policy := "fault-" + strings.ReplaceAll(string(name), ".", "-")
	request := madmin.PolicyAssociationReq{Policies: []string{policy}, User: user}
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(s.there(), "user for "+string(name), user)),
		Inject: func(ctx context.Context) error {
			adm, err := s.admin()
			if err != nil {
				return err
			}
			text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}})
			if err != nil {
				return err
			}
			if err := k.put(struct{}{}); err != nil {
				return err
			}
			if err := adm.AddCannedPolicy(ctx, policy, text); err != nil {
				return err
			}
			_, err = adm.AttachPolicy(ctx, request)
			return err
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				adm, err := s.admin()
				if err != nil {
					return err
				}
				_, err = adm.DetachPolicy(ctx, request)
				return errors.Join(err, adm.RemoveCannedPolicy(ctx, policy))
			})
		},
	}
}

// disabled switches a user off.
func disabled(name fault.Name, doc string, s Storage, user string) fault.Fault {
	var k kept[struct{}]
	set := func(ctx context.Context, to madmin.AccountStatus) error {
		adm, err := s.admin()
		if err != nil {
			return err
		}
		return adm.SetUserStatus(ctx, user, to)
	}
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(with(s.there(), "user for "+string(name), user)),
		Inject: func(ctx context.Context) error {
			return errors.Join(k.put(struct{}{}), set(ctx, madmin.AccountDisabled))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error { return set(ctx, madmin.AccountEnabled) })
		},
	}
}
