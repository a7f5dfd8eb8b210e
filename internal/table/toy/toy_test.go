package toy_test

import (
	"testing"

	"breakwater/internal/table/tabletest"
	"breakwater/internal/table/toy"
)

func TestPort(t *testing.T) {
	tabletest.Run(t, tabletest.World{Format: toy.Format{}, Create: toy.Create})
}
