package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"breakwater/lab/server/miniotest"
	"breakwater/lab/server/temporaltest"
	"breakwater/lab/world"
)

// set is the servers that the tests of all packages share, and the folder in which
// they live and that says where they are.
type set struct {
	folder   string
	lock     *os.File
	minio    *miniotest.Server
	temporal *temporaltest.Server
}

// startSet starts the servers, and makes what worlds start from.
func startSet(ctx context.Context) (_ *set, err error) {
	s := &set{}
	if err := s.makeFolder(); err != nil {
		return nil, fmt.Errorf("make a folder for the shared servers: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the shared servers: %w", err), s.stop())
		}
	}()
	if s.minio, err = miniotest.New(filepath.Join(s.folder, "minio"), filepath.Join(s.folder, "minio.log")); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return errors.Join(s.minio.Run(ctx), s.minio.Hand(s.folder)) })
	g.Go(func() (err error) {
		if s.temporal, err = temporaltest.Start(ctx, s.folder); err != nil {
			return err
		}
		return s.temporal.Hand(s.folder)
	})
	g.Go(func() error { return world.HandFurnished(ctx, s.folder) })
	return s, g.Wait()
}

// makeFolder makes the folder that is always the same for a working folder, so that
// go test knows what it has tested; another one if a run there is under way.
func (s *set) makeFolder() (err error) {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("breakwater-servers-%d-%x", os.Getuid(), sha256.Sum256([]byte(here)))[:40]
	s.folder = filepath.Join(os.TempDir(), name)
	if s.lock, err = os.OpenFile(s.folder+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		s.folder, err = os.MkdirTemp("", name+"-")
		return err
	}
	return errors.Join(os.RemoveAll(s.folder), os.Mkdir(s.folder, 0o700)) // one that was killed left its own
}

// stop ends the servers and removes what they stored.
func (s *set) stop() error {
	if s.minio != nil {
		s.minio.Kill()
	}
	if s.temporal != nil {
		s.temporal.Kill()
	}
	return errors.Join(os.RemoveAll(s.folder), s.lock.Close())
}
