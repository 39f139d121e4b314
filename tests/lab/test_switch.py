import pandas as pd

ADAM = ("--optimizer", "Adam", "--optimizer.lr=0.003")
THEN_NEWTON = ("--second_optimizer", "GaussNewton", "--second_optimizer.lr=0.5", "--switch_after=1")


def test_the_second_optimizer_takes_over_after_the_first_epochs(trained):
    alone, switched = trained(*ADAM, folder="adam"), trained(*ADAM, *THEN_NEWTON, folder="switched")
    common = [name for name in alone if name != "seconds"]
    # Four steps an epoch; the fifth step's loss is still that of Adam's weights.
    pd.testing.assert_frame_equal(alone.loc[:4, common], switched.loc[:4, common], check_exact=True)
    assert switched["loss"][5] == alone["loss"][5]
    assert switched["loss_after"][5] < 0.4 * alone["loss_after"][5]
    assert switched["lr"].dropna().tolist() == 4 * [0.003] + 8 * [0.5]
    assert switched["defect"].notna().tolist() == 5 * [False] + 8 * [True]


def test_gauss_newton_may_come_first(trained):
    then_sgd = ("--second_optimizer", "SGD", "--second_optimizer.lr=0.01", "--switch_after=2")
    alone, switched = (trained(*words, folder=str(len(words))).drop(columns="seconds") for words in ((), then_sgd))
    pd.testing.assert_frame_equal(alone[:9], switched[:9], check_exact=True)
    assert switched["defect"].notna().tolist() == [False] + 8 * [True] + 4 * [False]
