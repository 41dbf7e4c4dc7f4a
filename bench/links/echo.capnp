@0xb9d4f1c27ae05613;

interface Echo {
  say @0 (data :Data) -> (data :Data);
}
