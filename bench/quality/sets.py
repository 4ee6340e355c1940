"""The open data sets of the catalogue and the figures to stand beside."""
from dataclasses import dataclass

# 5-fold means with the defaults of scikit-learn 1.2.1 and XGBoost (300 trees), as in the catalogue of the data sets:
# log-loss for classification, rmse for the others.
METHODS = ("linear", "forest", "boosting", "perceptron", "XGBoost")


@dataclass(frozen=True)
class DataSet:
    name: str
    task: str
    target: str
    figures: tuple = (None,) * len(METHODS)  # None where the catalogue has none
    drop: str = ""  # columns that leak the target or name the row
    group: str = ""  # column that says which rows resemble each other: never an input
    exposure: str = ""  # column that the counts are in proportion to

    @property
    def metric(self):
        return "log_loss" if self.task == "classification" else "rmse"

    @property
    def best(self):
        """The best of the catalogue's methods, None where it has no figures."""
        return min((figure for figure in self.figures if figure is not None), default=None)

    @property
    def not_inputs(self):
        return [*self.drop.split(), *filter(None, [self.group, self.exposure])]


SETS = {data.name: data for data in [
    DataSet("pb52", "classification", "Vowel", (0.4669, 0.3854, 0.6634, 0.5897, 0.4816),
            drop="Type Sex IPA Repetition", group="Speaker"),
    DataSet("pb52_jacobs4", "classification", "Vowel", (0.3156, 0.222, 0.3645, 1.171, 0.3328),
            drop="Type Repetition", group="Speaker"),
    DataSet("mcycle", "regression", "accel", (46.55, 28.96, 25.57, 34.16, 32.68)),
    DataSet("faithful", "regression", "waiting", (5.927, 6.77, 5.923, 5.98, 7.25)),
    DataSet("ethanol", "regression", "NOx", (1.176, 0.2824, 0.5177, 0.4842, 0.2676)),
    DataSet("tonedata", "regression", "tuned", (0.2281, 0.2461, 0.2305, 0.2304, 0.2498)),
    DataSet("tempanomalies", "regression", "AnnualAnomaly", (0.1715, 0.1215, 0.1361, 0.1755, 0.1422)),
    DataSet("kin8nm", "regression", "y", (0.2021, 0.1406, 0.1258, 0.0803, 0.123)),
    DataSet("puma8nh", "regression", "thetadd3", (4.462, 3.252, 3.234, 3.207, 3.506)),
    DataSet("boston", "regression", "medv", (4.838, 3.696, 3.497, 3.482, 3.844)),
    DataSet("california", "regression", "MedHouseVal", (0.7263, 0.5017, 0.4668, 0.5483, 0.4674)),
    DataSet("california_raw", "regression", "median_house_value", (68860, 49080, 47920, 54650, 47130)),
    DataSet("concrete", "regression", "strength", (10.47, 4.939, 4.494, 5.895, 4.529)),
    DataSet("power_plant", "regression", "PE", (4.559, 3.317, 3.369, 4.032, 3.087)),
    DataSet("wine_red", "regression", "quality", (0.653, 0.5802, 0.6035, 0.6415, 0.6162)),
    DataSet("wine_white", "regression", "quality", (0.7532, 0.6119, 0.6445, 0.7007, 0.6449)),
    DataSet("abalone", "regression", "rings", (2.222, 2.184, 2.182, 2.115, 2.347)),
    DataSet("bike_hour", "count", "cnt", (101.9, 42.22, 43.22, 41.64, 41.12),
            drop="instant dteday casual registered"),
    DataSet("diamonds", "regression", "price", (1131, 546.6, 552.2, 642.7, 562)),
    DataSet("autompg", "regression", "mpg", (2.958, 2.688, 2.758, 2.686, 3.023)),
    DataSet("iris", "classification", "target", (0.1547, 0.1349, 0.3634, 0.8696, 0.3087)),
    DataSet("breast_cancer", "classification", "target", (0.07379, 0.1158, 0.1024, 0.2651, 0.08594)),
    DataSet("pima", "classification", "diabetes", (0.4806, 0.4889, 0.6724, 0.488, 0.894)),
    DataSet("adult", "classification", "income", (0.3181, 0.3352, 0.276, 0.3073, 0.2945)),
    DataSet("covertype16", "classification", "Cover_Type", (0.641, None, 0.4658, None, 0.2602)),
    DataSet("letter", "classification", "lettr", (0.8514, 0.2752, 0.1195, 0.1877, 0.1122)),
    DataSet("optdigits", "classification", "class", (0.09823, 0.2153, 0.07539, 0.08937, 0.07047)),
    DataSet("titanic", "classification", "Survived", (0.4595, 0.6758, 0.4862, 0.5038, 0.6576),
            drop="PassengerId Name Ticket Cabin"),
    DataSet("german_credit", "classification", "class", (0.4967, 0.4824, 0.5712, 0.4983, 0.7485)),
    DataSet("vowel", "classification", "Class", (0.9851, 0.417, 0.209, 0.7815, 0.2742),
            drop="Train_or_Test Sex", group="Speaker_Number"),
    DataSet("electricity", "classification", "class", (0.5128, 0.3815, 0.4163, 0.4699, 0.4031)),
    DataSet("nmes1988", "count", "visits", (6.314, 6.643, 6.508, 6.313, 7.419),
            drop="nvisits ovisits novisits emergency"),
    DataSet("patents", "count", "Patents", (28.45, 15.14, 28.77, 21.67, 19.9), drop="Company RDS"),
    DataSet("bemtpl97", "count", "nclaims", (0.3637, None, 0.3635, None, 0.3729),
            drop="id claim amount average postcode", exposure="expo"),
    DataSet("wages", "regression", "wages"),
    DataSet("npreg", "regression", "yn", drop="yp yb class id1 id2"),
    DataSet("synth_n10000", "regression", "y", drop="z"),
]}


@dataclass(frozen=True)
class Goal:
    """What a figure on the 20 published splits is held against; smaller is better."""
    target: float
    published: float  # the best of MC dropout, deep ensembles, NGBoost and XGBDistribution


PUBLISHED_SPLITS = {
    "boston": {"nll": Goal(2.37, 2.41), "rmse": Goal(2.80, 2.94)},
    "concrete": {"nll": Goal(2.65, 3.04), "rmse": Goal(4.70, 5.06)},
    "kin8nm": {"nll": Goal(-1.10, -1.20), "rmse": Goal(0.080, 0.09)},
    "power_plant": {"nll": Goal(2.68, 2.77), "rmse": Goal(3.80, 3.79)},
    "wine_red": {"nll_grid": Goal(0.90, 0.91), "rmse": Goal(0.61, 0.62)},
}

COUNT_SETS = ("nmes1988", "patents", "bemtpl97")
ROBUST_SETS = ("concrete",)
