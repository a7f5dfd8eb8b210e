package objectstore_test

import (
	"context"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"breakwater/internal/objectstore"
	"breakwater/internal/reach"
)

func TestAnswered(t *testing.T) {
	for err, want := range map[error]bool{
		nil: true, fs.ErrNotExist: true, objectstore.ErrChanged: true, objectstore.ErrKey: true, objectstore.ErrArchived: true,
		reach.ErrUnreachable: false, reach.ErrUnseen: false, syscall.ECONNREFUSED: false, fs.ErrPermission: false,
		objectstore.ErrNoBucket: false, context.Canceled: false, context.DeadlineExceeded: false,
	} {
		if err != nil {
			err = fmt.Errorf("read an object: %w", err)
		}
		if got := objectstore.Answered(err); got != want {
			t.Errorf("%v: answered %v, want %v", err, got, want)
		}
	}
}
