package accountsql

import (
	"path/filepath"
	"testing"

	"dray/account"
	"dray/account/accounttest"
)

func opened(t testing.TB, file string) *DB {
	t.Helper()
	db, err := Open(t.Context(), file, nil)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func TestStore(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Store {
		return opened(t, filepath.Join(t.TempDir(), "accounts.db"))
	})
}

func TestLedger(t *testing.T) {
	accounttest.RunLedger(t, func(t *testing.T) (account.Store, account.Ledger) {
		db := opened(t, filepath.Join(t.TempDir(), "accounts.db"))
		l, err := db.Ledger(t.Context())
		if err != nil {
			t.Fatalf("Ledger: %v", err)
		}
		return db, l
	})
}
